"""compose_rules.py COMPOSE_FILE <CONFIG: what must hold for every service of the stack, as Compose has read it."""
import json
import sys

config = json.load(sys.stdin)
services = config["services"]
problems = []


def rule(what, offenders):
    offenders = sorted(offenders)
    print(f"{'WRONG' if offenders else 'ok   '} {what}" + (f": not {', '.join(offenders)}" if offenders else ""))
    problems.extend(offenders)


def without(good):
    return [name for name, service in services.items() if not good(service)]


def checked_by_one_program(service):
    test = service.get("healthcheck", {}).get("test", ["CMD", ""])
    return test[0] == "CMD" and test[1] not in ("sh", "bash")


def without_spaces(service):
    return all(word.split() == [word] for word in service.get("healthcheck", {}).get("test", []))


def volumes(service):
    return {mount["source"] for mount in service.get("volumes", []) if mount["type"] == "volume"}


rule("an init reaps orphans", without(lambda s: s.get("init")))
rule("a health check is one program, without a shell", without(checked_by_one_program))
rule("no word of a health check has a space in it", without(without_spaces))
rule("a slow start is no illness", without(lambda s: "test" not in s.get("healthcheck", {}) or s["healthcheck"].get("start_period")))
rule("a log has an end", without(lambda s: s["logging"]["options"].get("max-size")))
rule("memory and processes have a limit", without(lambda s: s.get("mem_limit") and s.get("pids_limit")))
rule("an image has a tag", without(lambda s: ":" in s["image"].rsplit("/", 1)[-1]))
rule("nothing waits for the health of something else", without(
    lambda s: all(d["condition"] == "service_completed_successfully" for d in s.get("depends_on", {}).values())))
always = set().union(*(volumes(s) for s in services.values() if not s.get("profiles")))
rule("down -v deletes the volume also without its profile", set(config["volumes"]) - always)
rule("a port has a variable of the service's name", [
    name for name, service in services.items() for port in service.get("ports", [])
    if f"${{{name.upper()}_PORT:-{port['published']}}}" not in open(sys.argv[1]).read()])

sys.exit(bool(problems))
