#!/usr/bin/env python3
"""judge.py DIRECTORY LEDGER...: what became of every write of these clients, as a table.

DIRECTORY has the ids that the primary has at the end (found) and the legs of the journey (legs.jsonl: {"leg", "begin", "until",
"left": {client: sessions}}). It gets summary.json, for the assertions of clients_test; settings.md, what every driver was told;
and errors, what every driver saw.
"""

import collections
import json
import pathlib
import sys

WORKERS = 8
LAST = 12  # s at the end of a leg, in which a worker that goes on has written: more than a starved machine needs

directory = pathlib.Path(sys.argv[1])


def lines(path):
    """A ledger; its last line may be half of one, of a client that was killed."""
    for text in path.read_text().splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue


def in_doubt(entry):
    """The server may have carried it out: the session ended between the write and the answer."""
    return entry["sent"] and (not entry["sqlstate"] or entry["sqlstate"].startswith(("57P", "08")))


def longest_gap(times, begin, until):
    marks = [begin] + sorted(time for time in times if begin <= time <= until) + [until]
    return max(after - before for before, after in zip(marks, marks[1:]))


class Client:
    def __init__(self, path, found, legs):
        head, *entries = lines(path)
        self.name, self.driver, self.settings = path.stem, head["driver"], head["settings"]
        self.errors = [entry for entry in entries if "error" in entry]
        written = [entry for entry in entries if "error" not in entry]
        doubt = [entry for entry in self.errors if in_doubt(entry)]
        self.acknowledged = len(written)
        self.missing = sum(entry["id"] not in found for entry in written)
        self.doubt_found = sum(entry["id"] in found for entry in doubt)
        self.doubt_lost = len(doubt) - self.doubt_found
        self.wrong = sum(entry["id"] in found for entry in self.errors if not in_doubt(entry))
        self.legs = []
        for leg in legs:
            gap = longest_gap([entry["at"] for entry in written], leg["begin"], leg["until"])
            going = {entry["worker"] for entry in written if leg["until"] - LAST <= entry["at"] <= leg["until"]}
            # application_name of the clients is their name.
            self.legs.append((gap, len(going), leg["left"].get(self.name, 0)))

    def row(self):
        cells = [self.driver, f"{self.acknowledged:,}", self.missing, f"{self.doubt_found} / {self.doubt_lost}", f"{len(self.errors):,}"]
        for gap, going, left in self.legs:
            cells.append(f"{gap:.2f} s" if going == WORKERS else "**stuck**" if not going else f"**{going} of {WORKERS}**")
        cells.append(" / ".join(str(left) for _, _, left in self.legs))
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


legs = list(lines(directory / "legs.jsonl"))
found = set((directory / "found").read_text().split())
clients = [Client(path, found, legs) for path in map(pathlib.Path, sys.argv[2:])]
heads = ["driver", "acknowledged", "missing", "in doubt: written / not", "errors"]
heads += [f"longest gap, {leg['leg']}" for leg in legs] + ["left on the old server"]
print("| " + " | ".join(heads) + " |")
print("|---" * len(heads) + "|")
for client in clients:
    print(client.row())

summary = {
    "stuck": [" ".join(c.name for c in clients if c.legs[n][1] < WORKERS) for n in range(len(legs))],
    "missing": sum(c.missing for c in clients),
    "wrong": sum(c.wrong for c in clients),
}
(directory / "summary.json").write_text(json.dumps(summary))
with open(directory / "settings.md", "w") as file:
    print("| driver | told |\n|---|---|", file=file)
    for client in clients:
        print(f"| {client.driver} | `{client.settings}` |", file=file)
with open(directory / "errors", "w") as file:
    for client in clients:
        kinds = collections.Counter((entry["sent"], entry["sqlstate"], entry["error"][:110]) for entry in client.errors)
        for (sent, sqlstate, error), count in kinds.most_common(6):
            print(f"{client.name:22} {count:6} {'sent' if sent else 'not sent':8} {sqlstate:5} {' '.join(error.split())}", file=file)
