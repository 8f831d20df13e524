"""kube_api.py PORT FILE CERTIFICATE KEY: as much of Kubernetes' API as kubectl needs to get and patch EndpointSlices. It stands in for
the real one.

FILE has {"slices": {NAME: {...}}, "tokens": {TOKEN: [VERB, ...]}}; it is read again for each request and written after each change.
"""

import http.server
import json
import ssl
import sys
import urllib.parse

GROUP = "discovery.k8s.io"
path_of_slices = f"/apis/{GROUP}/v1/namespaces/default/endpointslices/"
version = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1", "resources": [
    {"name": "endpointslices", "singularName": "endpointslice", "namespaced": True, "kind": "EndpointSlice", "verbs": ["get", "patch"]}]}
DISCOVERY = {
    "/version": {"major": "1", "minor": "34"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]},
    f"/apis/{GROUP}/v1": RESOURCES,
}


class Refused(Exception):
    pass


def step(thing, part):
    return thing[int(part)] if isinstance(thing, list) else thing[part]


def patched(thing, operations):
    """RFC 6902, of which test and replace."""
    thing = json.loads(json.dumps(thing))
    for operation in operations:
        *way, last = operation["path"].strip("/").split("/")
        place = thing
        for part in way:
            place = step(place, part)
        if operation["op"] == "test" and step(place, last) != operation["value"]:
            raise Refused(422, "Invalid", "the server rejected our request due to an error in our request")
        if operation["op"] == "replace":
            place[int(last) if isinstance(place, list) else last] = operation["value"]
    return thing


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def act(self, verb):
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with open(sys.argv[2], encoding="utf-8") as file:
            state = json.load(file)
        try:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in state["tokens"]:
                raise Refused(401, "Unauthorized", "Unauthorized")
            if url.path in DISCOVERY:
                return self.answer(200, DISCOVERY[url.path])
            name = url.path.removeprefix(path_of_slices)
            what = f'endpointslices.{GROUP} "{name}"'
            if name == url.path or verb not in state["tokens"][token]:
                raise Refused(403, "Forbidden", f'{what} is forbidden: User "{token}" cannot {verb} resource')
            if name not in state["slices"]:
                raise Refused(404, "NotFound", f"{what} not found")
            found = state["slices"][name]
            if verb == "patch":
                found = patched(found, json.loads(body))
                if "dryRun=All" not in url.query:
                    found["metadata"]["resourceVersion"] = str(int(found["metadata"].get("resourceVersion", "1")) + 1)
                    state["slices"][name] = found
                    with open(sys.argv[2], "w", encoding="utf-8") as file:
                        json.dump(state, file)
            self.answer(200, found)
        except Refused as refused:
            code, reason, message = refused.args
            self.answer(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})

    def do_GET(self):
        self.act("get")

    def do_PATCH(self):
        self.act("patch")


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
