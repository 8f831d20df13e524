"""The Grafana dashboards as the project keeps them: read, written in one form, and what they ask of Prometheus.

Run by itself it puts the files into that form.
"""

import json
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((TOP / "grafana/dashboards").glob("*.json"))
WIDTH = 120


def canonical(value, indent=0, prefix=0):
    """Sorted keys; what fits stands on one line, so that a change of one thing is a change of one line."""
    flat = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if indent + prefix + len(flat) < WIDTH or not isinstance(value, (dict, list)) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {canonical(value[key], indent + 2, len(key) + 4)}" for key in sorted(value)]
    else:
        items = [canonical(item, indent + 2) for item in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + last


def panels(dashboard):
    """All panels, rows included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions(dashboard):
    """(panel's title, expression) of every query."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def substituted(expression, variables):
    """The expression as Grafana would send it."""
    for name, value in variables.items():
        expression = re.sub(rf"\$(?:{{{name}}}|{name}\b)", lambda _, value=value: value, expression)
    return expression


if __name__ == "__main__":
    for file in FILES:
        file.write_text(canonical(json.loads(file.read_text())) + "\n")
