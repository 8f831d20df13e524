"""The table of docs/reliability.md, from the lines that `campaign --results` has written."""

import collections
import json

ENDS = ("done", "undone", "refused", "guard", "recover", "a person decided")
HEADS = ("kind of fault", "cutovers", *ENDS, "wrong", "longest without a write")


def rows(lines):
    kinds = collections.defaultdict(list)
    for line in lines:
        # A round with two faults counts for both kinds.
        for kind in sorted({kind for _, kind, _, happened in line["faults"] if happened}) or ["none came about"]:
            kinds[kind].append(line)
    yield from ((kind, kinds[kind]) for kind in sorted(kinds))
    yield "all cutovers", lines


def cell(value):
    return str(value) if value else ""


def table(path):
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    yield "| " + " | ".join(HEADS) + " |"
    yield "|---" + "|---:" * (len(HEADS) - 1) + "|"
    for kind, rounds in rows(lines):
        ends = collections.Counter(line["ended"] for line in rounds)
        longest = max((line["took"] for line in rounds if line["took"] is not None), default=None)
        cells = [kind, len(rounds), *(ends[end] for end in ENDS), sum(bool(line["wrong"]) for line in rounds)]
        yield "| " + " | ".join(map(cell, cells)) + f" | {f'{longest:.1f} s' if longest is not None else '-'} |"
    versions = collections.Counter(line["version"] for line in lines)
    yield ""
    yield "Versions: " + ", ".join(f"{version} ({count})" for version, count in sorted(versions.items()))
