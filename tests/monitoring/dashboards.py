"""The Grafana dashboards as the project keeps them: read, written in one form, and what they ask of Prometheus.

Run by itself it puts the files into that form, and into them what stands elsewhere: the pages of docs/runbook become the
dashboard Runbook, and the table of firing alerts knows the page of every alert.
"""

import json
import pathlib
import re

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((TOP / "grafana/dashboards").glob("*.json"))
WIDTH = 120
# Pages of docs/runbook, and the panel of the dashboard Runbook that shows each.
PAGES = {"README": 1, "danger": 2, "blind": 3, "replication": 4, "slots": 5, "blockers": 6, "cutover": 7}
RUNBOOK_URL = "/d/pgrm-runbook/runbook?viewPanel=panel-"


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


def legend(target, labels):
    """What Grafana calls a series with these labels."""
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target["legendFormat"])


def alert_names(page):
    groups = yaml.safe_load((TOP / f"prometheus/rules/{page}.yml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def firing():
    """The query of the table of firing alerts: the rank of the severity, what it is about, and its page of the runbook."""
    chosen = 'alertstate="firing", cluster=~"$cluster|"'
    query = " or ".join(f'{rank} * max by (alertname, cluster, node, slot, standby) (ALERTS{{{chosen}, severity="{severity}"}})'
                        for rank, severity in ((3, "critical"), (2, "warning"), (1, "info")))
    for label in ("node", "slot", "standby"):
        query = f'label_replace({query}, "about", "$1", "{label}", "(.+)")'
    for page, panel in PAGES.items():
        if page != "README":
            query = f'label_replace({query}, "page", "{panel}", "alertname", "{"|".join(alert_names(page))}")'
    return query + " or on () vector(0)"


def runbook_panels():
    """docs/runbook as panels of text. A link from page to page leads from panel to panel; others have no target here."""
    def link(match):
        text, page = match.groups()
        return f"[{text}]({RUNBOOK_URL}{PAGES[page]})" if page in PAGES else text

    panels, y = [], 0
    for page, number in PAGES.items():
        title, text = re.match(r"# (.+?)\n+(.*)", (TOP / f"docs/runbook/{page}.md").read_text(), re.DOTALL).groups()
        height = 4 + text.count("\n") * 2 // 3
        panels.append({
            "id": number, "type": "text", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": height},
            "options": {"mode": "markdown", "content": re.sub(r"\[([^]]+)\]\(([^)#]*?)(?:\.md)?(?:#[^)]*)?\)", link, text)},
        })
        y += height
    return panels


def filled(dashboard):
    """The dashboard with what stands elsewhere as it is there now."""
    if dashboard["uid"] == "pgrm-runbook":
        return dashboard | {"panels": runbook_panels()}
    for panel in panels(dashboard):
        if panel["title"] == "Firing alerts":
            panel["targets"][0]["expr"] = firing()
    return dashboard


if __name__ == "__main__":
    for file in FILES:
        file.write_text(canonical(filled(json.loads(file.read_text()))) + "\n")
