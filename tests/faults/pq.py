"""libpq by ctypes: a session of which every answer is told apart as acknowledged, refused, or in doubt."""

import collections
import ctypes
import select
import time

_pq = ctypes.CDLL("libpq.so.5")
for _name in ("PQconnectdb", "PQgetResult"):
    getattr(_pq, _name).restype = ctypes.c_void_p
for _name in ("PQgetvalue", "PQresultErrorField", "PQerrorMessage", "PQresultErrorMessage"):
    getattr(_pq, _name).restype = ctypes.c_char_p
_POINTER_FIRST = (
    "PQstatus PQerrorMessage PQfinish PQsendQuery PQsocket PQconsumeInput PQisBusy PQgetResult PQresultStatus PQntuples "
    "PQnfields PQgetvalue PQresultErrorField PQresultErrorMessage PQclear"
)
_MORE = {
    "PQsendQuery": [ctypes.c_char_p],
    "PQgetvalue": [ctypes.c_int, ctypes.c_int],
    "PQresultErrorField": [ctypes.c_int],
}
for _name in _POINTER_FIRST.split():
    getattr(_pq, _name).argtypes = [ctypes.c_void_p] + _MORE.get(_name, [])

ACKNOWLEDGED, REFUSED, DOUBT = "acknowledged", "refused", "in doubt"
Answer = collections.namedtuple("Answer", "kind rows error")


class Session:
    """Connects when it is first needed, and anew after every error that ends a session."""

    def __init__(self, conninfo):
        self.conninfo, self.connection = conninfo + " connect_timeout=2", None

    def close(self):
        if self.connection:
            _pq.PQfinish(self.connection)
        self.connection = None

    def open(self):
        """None, or why not."""
        if self.connection:
            return None
        self.connection = _pq.PQconnectdb(self.conninfo.encode())
        if _pq.PQstatus(self.connection) == 0:
            return None
        why = _pq.PQerrorMessage(self.connection).decode(errors="replace").strip()
        self.close()
        return why

    def run(self, statement, patience=5.0):
        why = self.open()
        if why:
            return Answer(REFUSED, [], why)
        answer = self._ask(statement, patience)
        if answer.kind == DOUBT:
            self.close()
        return answer

    def _ask(self, statement, patience):
        deadline = time.monotonic() + patience
        if not _pq.PQsendQuery(self.connection, statement.encode()):
            return Answer(DOUBT, [], _pq.PQerrorMessage(self.connection).decode(errors="replace"))
        rows, error = [], None
        while True:
            while _pq.PQisBusy(self.connection):
                socket = _pq.PQsocket(self.connection)
                left = deadline - time.monotonic()
                if socket < 0 or left <= 0 or not select.select([socket], [], [], left)[0]:
                    return Answer(DOUBT, rows, "no answer in time")
                if not _pq.PQconsumeInput(self.connection):
                    break
            result = _pq.PQgetResult(self.connection)
            if not result:
                break
            if _pq.PQresultStatus(result) in (1, 2):
                rows = [
                    [_pq.PQgetvalue(result, n, field).decode() for field in range(_pq.PQnfields(result))]
                    for n in range(_pq.PQntuples(result))
                ]
            elif error is None:
                state = (_pq.PQresultErrorField(result, ord("C")) or b"").decode()
                error = (state, _pq.PQresultErrorMessage(result).decode(errors="replace").strip())
            _pq.PQclear(result)
        if error is None:
            return Answer(ACKNOWLEDGED, rows, "")
        # The session ended between the statement and its answer: nobody knows.
        ended = not error[0] or error[0].startswith(("57P", "08", "XX"))
        if ended or _pq.PQstatus(self.connection) != 0:
            return Answer(DOUBT, rows, error[1])
        return Answer(REFUSED, rows, error[1])


def ask(conninfo, statement, patience=5.0):
    """One statement over a session of its own."""
    session = Session(conninfo)
    try:
        return session.run(statement, patience)
    finally:
        session.close()
