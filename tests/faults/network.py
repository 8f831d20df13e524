"""toxiproxy in front of both servers, for the agent, for the clients, and for the streaming: a link each."""

import http.client
import json
import socket
import subprocess
import time

PARTIES = ("agent", "clients", "stream")
NODES = ("primary", "replica")


def free_port():
    """Below those that the kernel hands out."""
    for port in range(20000 + time.time_ns() % 9000, 32000):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("campaign: no free port")


class Network:
    def __init__(self, program, log):
        self.api, self.ports, self.upstreams = free_port(), {}, {}
        self.process = subprocess.Popen(
            [program, "-port", str(self.api)], stdout=open(log, "w"), stderr=subprocess.STDOUT
        )
        self._until_it_answers()

    def _until_it_answers(self):
        for _ in range(200):
            try:
                return self._ask("GET", "/version")
            except OSError:
                time.sleep(0.05)
        raise SystemExit("campaign: toxiproxy does not answer")

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=10)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"toxiproxy: {method} {path}: {answer.status} {text!r}")

    def link(self, party, node, port):
        """The port through which `party` reaches the server of `node`, which listens on `port`."""
        name = f"{party}_{node}"
        if name not in self.ports:
            self.ports[name] = free_port()
            listen = f"127.0.0.1:{self.ports[name]}"
            self._ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": f"127.0.0.1:{port}"})
        return self.ports[name]

    def poison(self, party, node, kind, stream, **attributes):
        toxic = {"name": f"{kind}_{stream}", "type": kind, "stream": stream, "attributes": attributes}
        self._ask("POST", f"/proxies/{party}_{node}/toxics", toxic)

    def cut(self, party, node):
        """Nobody gets in, and every connection is closed."""
        self._ask("POST", f"/proxies/{party}_{node}", {"enabled": False})

    def heal(self):
        self._ask("POST", "/reset")

    def end(self):
        self.process.terminate()
        self.process.wait()
