"""What the hooks share: which server is which, settings, and how a hook ends.

A hook has three functions, and run() does the rest:

  look(servers)              the one of the two servers that gets the clients now; raises Trouble when it cannot be told
  rights(servers)            tries every right that move() needs, and changes nothing
  move(source, destination)  sends the clients to destination; safe to do twice

What move() did is proved by look(): a hook that cannot prove its change fails.
"""

import collections
import os
import sys
import time

PATIENCE = 8  # s for all that a hook does: the agent has ten, so it is the hook that says what hangs
begin = time.monotonic()


class Trouble(Exception):
    """printed: what a command that failed has printed. unreachable: it did not end, or ssh did not get there."""

    def __init__(self, message, hint="", printed="", unreachable=False):
        super().__init__(message)
        self.hint, self.printed, self.unreachable = hint, printed, unreachable


class Server(collections.namedtuple("Server", "host port")):
    def __str__(self):
        return f"{self.host}:{self.port}"


def left():
    """Seconds until a call has to give up."""
    return max(PATIENCE - (time.monotonic() - begin), 0.1)


def setting(name, default=None, example=""):
    value = os.environ.get(name, "") or default
    if value is None:
        raise Trouble(f"{name} is not set", f"export {name}={example}")
    return value


def server(text):
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise Trouble(f"{text} is not HOST:PORT")
    return Server(host, port)


def server_of(role, side, default_port):
    """A server as the clients' side of the world calls it: as the agent does, or as PGRM_ADDRESSES says."""
    named = os.environ.get(f"PGRM_{role}_PRIMARY") or ":".join(
        (os.environ.get(f"{side}_HOST") or "localhost", os.environ.get(f"{side}_PORT") or default_port))
    others = dict(pair.split("=", 1) for pair in setting("PGRM_ADDRESSES", "").split() if "=" in pair)
    if others and named not in others:
        raise Trouble(f"PGRM_ADDRESSES does not name {named}", f'export PGRM_ADDRESSES="{named}=HOST:PORT …", for both servers')
    found = server(others.get(named, named))
    if found.host.startswith("/"):
        raise Trouble(f"{named} is a unix socket: no client can be sent there", "PRIMARY_HOST and REPLICA_HOST must be addresses")
    return found


def command(words, text=None, within=PATIENCE):
    """What a command prints, byte for byte. Its last line of errors is the trouble."""
    import subprocess
    try:
        done = subprocess.run(words, input=text, capture_output=True, encoding="utf-8", errors="surrogateescape",
                              timeout=min(left(), within))
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
        host, port = url.hostname, url.port or port
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https"):
        raise Trouble(f"{address} is not HOST:PORT, http://… or https://…")
    if not https and url.scheme == "http":
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
        return setting(f"{name}_VALUE", "{host}:{port}").replace("{host}", server.host).replace("{port}", server.port)

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
