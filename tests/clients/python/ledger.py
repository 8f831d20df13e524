"""What every client in Python does: eight workers, each with one write after the other, and a line for each write."""

import json
import signal
import sys
import threading
import time
import uuid

WORKERS = 8
PAUSE = 0.1  # s, between two writes of one worker

hosts, target, path = sys.argv[-3:]
hosts = [tuple(host.split(":")) for host in hosts.split(",")]
through_pooler = target == "pooler"
stop = threading.Event()
_lines = open(path, "a", buffering=1)


def servers(form):
    """The settings of `form(hosts)`: what this run uses, and the same as a document would have it."""
    told = [("pooler", "6432")] if through_pooler else [("old", "5432"), ("new", "5432")]
    return form(hosts), form(told)


def libpq(pairs):
    """libpq's own form, for everything that is built on it."""
    text = "host=" + ",".join(host for host, _ in pairs) + " port=" + ",".join(port for _, port in pairs)
    return text if through_pooler else f"{text} target_session_attrs={target}"


def line(**fields):
    _lines.write(json.dumps(fields) + "\n")


def begin(driver, settings):
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    line(driver=driver, settings=settings)


class Attempt:
    """One write. `sent()` is called with a connection in hand: from then on nobody knows what became of it, until an answer."""

    def __init__(self, worker):
        self.worker, self.id, self.was_sent = worker, str(uuid.uuid4()), False

    def sent(self):
        self.was_sent = True

    def acknowledged(self):
        line(at=time.time(), worker=self.worker, id=self.id)

    def failed(self, error):
        cause = getattr(error, "orig", None) or error
        sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        line(at=time.time(), worker=self.worker, id=self.id, sent=self.was_sent, sqlstate=sqlstate, error=str(cause)[:200])


def run_threads(write):
    """Calls `write(id, sent)` until SIGTERM; what it raises goes into the ledger, and the next write follows."""

    def work(worker):
        while not stop.is_set():
            attempt = Attempt(worker)
            try:
                write(attempt.id, attempt.sent)
                attempt.acknowledged()
            except Exception as error:
                attempt.failed(error)
            stop.wait(PAUSE)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(WORKERS)]
    for thread in threads:
        thread.start()
    while not stop.wait(1):
        pass
    for thread in threads:
        thread.join(5)
