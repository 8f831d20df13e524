"""What the hooks share: which server is which, settings, and how a hook ends.

A hook has three functions, and run() does the rest:

  look(servers)              the one of the two servers that gets the clients now; raises Trouble when it cannot be told
  rights(servers)            tries every right that move() needs, and changes nothing
  move(source, destination)  sends the clients to destination; safe to do twice

What move() did is proved by look(): a hook that cannot prove its change fails.
"""

import os
import sys
import time

# s for all that a hook does. It is less than the agent gives it, so that it is the hook that says what hangs.
PATIENCE = 0.8 * float(os.environ.get("PGRM_SECONDS") or "10")
begin = time.monotonic()


class Trouble(Exception):
    """printed: what a command that failed has printed. unreachable: it did not end, or ssh did not get there."""

    def __init__(self, message, hint="", printed="", unreachable=False):
        super().__init__(message)
        self.hint, self.printed, self.unreachable = hint, printed, unreachable


def plain(host):
    """The one way to write a host by which two of them are compared: 2001:DB8:0::1 is 2001:db8::1, and DB1 is db1."""
    import ipaddress
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.rstrip(".").lower()


class Server:
    """host and port as they were written. Two are equal when they are the same place."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.place = plain(host), port

    def __eq__(self, other):
        return isinstance(other, Server) and self.place == other.place

    def __hash__(self):
        return hash(self.place)

    def __str__(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def left():
    """Seconds until a call has to give up."""
    return max(PATIENCE - (time.monotonic() - begin), 0.1)


def setting(name, default=None, example=""):
    value = os.environ.get(name, "") or default
    if value is None:
        raise Trouble(f"{name} is not set", f"export {name}={example}")
    return value


def host_and_port(text, default=""):
    """Of HOST, HOST:PORT or [HOST]:PORT. An IPv6 address without brackets has no port."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return host, port or default


def server(text):
    host, port = host_and_port(text)
    if not host or not port.isdigit():
        raise Trouble(f"{text} is not HOST:PORT", "an IPv6 address needs brackets: [2001:db8::1]:5432" if text.count(":") > 1 else "")
    return Server(host, port)


def server_of(role, side, default_port):
    """A server as the clients' side of the world calls it: as the agent does, or as PGRM_ADDRESSES says."""
    told = os.environ.get(f"PGRM_{role}_PRIMARY")
    named = server(told) if told else Server(setting(f"{side}_HOST", "localhost"), setting(f"{side}_PORT", default_port))
    others = dict(map(server, pair.split("=", 1)) for pair in setting("PGRM_ADDRESSES", "").split() if "=" in pair)
    if others and named not in others:
        raise Trouble(f"PGRM_ADDRESSES does not name {named}", f'export PGRM_ADDRESSES="{named}=HOST:PORT …", for both servers')
    found = others.get(named, named)
    if found.host.startswith("/"):
        raise Trouble(f"{named} is a unix socket: no client can be sent there", "PRIMARY_HOST and REPLICA_HOST must be addresses")
    return found


def command(words, text=None, within=PATIENCE, environment=None):
    """What a command prints, byte for byte. Its last line of errors is the trouble. `environment`: more of it, for secrets."""
    import subprocess
    try:
        done = subprocess.run(words, input=text, capture_output=True, encoding="utf-8", errors="surrogateescape",
                              timeout=min(left(), within), env={**os.environ, **(environment or {})})
    except FileNotFoundError:
        raise Trouble(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"{' '.join(words[:3])} … did not end in time", unreachable=True) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if line.strip() and not line[0].isspace()]
        raise Trouble(f"{words[0]}: {said[-1].strip() if said else f'exit status {done.returncode}'}", printed=done.stdout,
                      unreachable=done.returncode == 255)
    return done.stdout


def http_connection(address, port=None, https=False, ca=None, cert=None, key=None):
    """To HOST:PORT or a URL. ca, cert and key are files, for TLS."""
    import http.client
    import urllib.parse
    try:
        url = urllib.parse.urlsplit(address if "//" in address else f"//{address}", "http")
        tls = https or url.scheme == "https"
        host, port = url.hostname, url.port or port or (443 if tls else 80)  # without a port, http.client looks for one in the host
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https"):
        raise Trouble(f"{address} is not HOST:PORT, http://… or https://…")
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=left() / 2)
    import ssl
    context = ssl.create_default_context(cafile=ca)
    if cert:
        context.load_cert_chain(cert, key or None)
    return http.client.HTTPSConnection(host, port, timeout=left() / 2, context=context)


def each(things, act):
    """act(thing) for all of them at once, in the order of the things; the first trouble is raised when all have ended."""
    import threading
    results = [None] * len(things)

    def keep(n):
        try:
            results[n] = (act(things[n]), None)
        except (Trouble, OSError) as trouble:
            results[n] = (None, trouble)

    threads = [threading.Thread(target=keep, args=(n,)) for n in range(len(things))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, trouble in results:
        if trouble:
            raise trouble
    return [result for result, _ in results]


def same(seen):
    """The one server that all places agree on. `seen` is a list of (place, server)."""
    if len({found for _, found in seen}) != 1:
        raise Trouble("not the same everywhere: " + ", ".join(f"{place} sends clients to {found}" for place, found in seen))
    return seen[0][1]


def prove(look, servers, wanted):
    found = look(servers)
    if found != wanted:
        raise Trouble(f"clients are sent to {found}, not to {wanted}")
    print(f"clients are sent to {found}")


def undo(look, move, servers):
    old, new = servers
    try:
        if look(servers) == old:
            print(f"clients are sent to {old}, as before")
            return
    except Trouble as trouble:
        print(trouble)
    move(new, old)
    prove(look, servers, old)


def act(event, look, rights, move):
    servers = old, new = server_of("OLD", "PRIMARY", "5432"), server_of("NEW", "REPLICA", "5433")
    if event in ("--check", "pre_fence", "post_fence"):  # what cannot work is found before anything is promoted
        found = look(servers)
        rights(servers)
        print(f"ready: clients are sent to {found}, and can be sent to {new if found == old else old}")
    elif event == "post_promote":
        move(old, new)
        prove(look, servers, new)
    elif event == "on_undo":
        undo(look, move, servers)
    else:
        raise Trouble(f"no event {event}: it is pre_fence, post_fence, post_promote or on_undo")


def run(look, rights, move):
    if sys.argv[1:] not in ([], ["--check"]) or not (sys.argv[1:] or os.environ.get("PGRM_HOOK")):
        print(f"usage: {os.path.basename(sys.argv[0])} --check, or as a hook of the agent, which sets PGRM_HOOK", file=sys.stderr)
        sys.exit(2)
    event = sys.argv[1] if len(sys.argv) > 1 else os.environ["PGRM_HOOK"]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        act(event, look, rights, move)
    except (Trouble, OSError) as trouble:
        print(trouble, file=sys.stderr)
        if getattr(trouble, "hint", ""):
            print(f"hint: {trouble.hint}", file=sys.stderr)
        sys.exit(1)


def run_on_key(name, store, example):
    """run() for a store with a key that says which server is the primary: NAME_KEY is the key, NAME_VALUE how a server is written.

    store(key) has present(), what the key says and a mark of it, and replace(mark, text), which says whether the mark still held.
    store.nobody is a mark that never holds: replace() with it needs the same rights, and changes nothing.
    """
    def key():
        return setting(f"{name}_KEY", example=example)

    def written(server):
        text = setting(f"{name}_VALUE", "{host}:{port}").replace("{host}:{port}", str(server))  # an IPv6 address in brackets
        return text.replace("{host}", server.host).replace("{port}", server.port)

    def seen(servers):
        place = store(key())
        text, mark = place.present()
        for server in servers:
            if text == written(server):
                return place, mark, server
        raise Trouble(f"{key()} is {text}; it must be {' or '.join(map(written, servers))}", f"{name}_VALUE says how a server is written there")

    def look(servers):
        return seen(servers)[2]

    def rights(servers):
        if store(key()).replace(store.nobody, written(servers[1])):
            raise Trouble(f"{key()} was not what it must be")

    def move(source, destination):
        place, mark, found = seen((source, destination))
        if found != destination and not place.replace(mark, written(destination)):
            raise Trouble(f"{key()} was changed by somebody else at this moment", "find out what writes it, then: agent recover")

    run(look, rights, move)
