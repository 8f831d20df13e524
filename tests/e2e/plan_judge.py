#!/usr/bin/env python3
"""plan_judge MODE PLAN LOG...: holds what the agent has sent, as servers with log_statement = all have logged it, against a plan.

  only-questions   every statement of the agent's is one that the plan only asks
  all              every statement of the agent's is in the plan, and every order of the plan was given

Prints every statement that breaks this. Numbers and the cutover's id differ from run to run: they count as the same.
"""

import json
import re
import sys

ENTRY = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[\d+\] (?P<application>\S*) (?P<level>[A-Z]+): +(?P<text>.*)$")
STATEMENT = re.compile(r"^(?:statement|execute [^:]+): (?P<sql>.*)$", re.DOTALL)
ID = re.compile(r"\d{8}T\d{6}Z[-_][0-9a-f]{8}")


def normal(sql):
    return re.sub(r"\d+", "N", ID.sub("ID", " ".join(sql.split()))).rstrip(";")


def logged(path):
    """The agent's statements, in order."""
    entries = []
    for line in open(path, encoding="utf-8", errors="replace"):
        found = ENTRY.match(line)
        if found:
            entries.append([found["application"], found["level"], found["text"]])
        elif entries and line.startswith("\t"):
            entries[-1][2] += "\n" + line.strip("\n")
    for application, level, text in entries:
        statement = STATEMENT.match(text)
        if level == "LOG" and application.startswith("pgrm-agent/") and statement:
            yield normal(statement["sql"])


def main():
    mode, plan_path, *logs = sys.argv[1:]
    plan = json.load(open(plan_path, encoding="utf-8"))
    questions = {normal(sql) for asked in plan["questions"].values() for sql in asked}
    lists = [plan["afterwards"]] + [step["orders"] for step in plan["steps"]]
    # What goes to a driver or to a host is no SQL.
    servers = {plan["old_primary"], plan["new_primary"]}
    orders = {normal(order["text"]) for orders in lists for order in orders if order["to"] in servers}
    seen = {sql for path in logs for sql in logged(path)}
    if not seen:
        print("no statement of the agent's was logged")
        return 1
    allowed = questions if mode == "only-questions" else questions | orders
    unplanned = seen - allowed
    for sql in sorted(unplanned):
        print(f"not in the plan: {sql}")
    # Known only then: whether the host's command has left a slot behind, and whether the WAL segment has to be filled.
    known_then = ("SELECT pg_drop_replication_slot(", "SELECT count(pg_logical_emit_message(")
    maybe = {sql for sql in orders if sql.startswith(known_then)}
    not_given = set() if mode == "only-questions" else orders - seen - maybe
    for sql in sorted(not_given):
        print(f"in the plan, and was not given: {sql}")
    print(f"{len(seen)} statements, {len(seen & orders)} of them orders")
    return 1 if unplanned or not_given else 0


if __name__ == "__main__":
    sys.exit(main())
