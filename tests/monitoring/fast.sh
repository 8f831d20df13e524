# Sourced by the tests on a real pair: the project's rules, with time ten times as fast.
# shellcheck shell=bash

# fast RECEIVER_PORT: Prometheus and Alertmanager of this lab scrape, evaluate and tell every second instead of every 5 s, and
# every duration of a rule is a tenth (`for: 1m` is 6 s, `[30s]` is 3 s, but no range has fewer than 3 s, and no group is evaluated
# more often than every second).
# The ports are this lab's own: the agent's is free until there is a cutover, and another lab of this machine would take it. It
# is known from the start, as in the compose stack: Prometheus takes 5 s to see a new target, which is no tenth.
# shellcheck disable=SC2154  # base and top are those of expect.sh
fast() {
  export AGENT_PORT=$((base + 4)) PROMETHEUS_PORT=$((base + 5)) ALERTMANAGER_PORT=$((base + 6))
  export PROMETHEUS_DIR=$LAB_HOME/fast/prometheus ALERTMANAGER_DIR=$LAB_HOME/fast/alertmanager
  mkdir -p "$LAB_HOME/fast"
  cp -a "$top/prometheus" "$top/alertmanager" "$LAB_HOME/fast/"
  sed -i -E -e 's/^(  (scrape|evaluation)_interval): 5s/\1: 1s/' -e 's/^(  scrape_timeout): 4s/\1: 1s/' "$PROMETHEUS_DIR/prometheus.yml"
  sed -i -E -e 's/group_wait: 5s/group_wait: 0s/' -e 's/group_interval: 30s/group_interval: 1s/' \
    -e "s|^  - name: .*|&\n    webhook_configs: [{url: \"http://127.0.0.1:$1/\", send_resolved: true}]|" "$ALERTMANAGER_DIR/alertmanager.yml"
  python3 - "$PROMETHEUS_DIR"/rules/*.yml <<'PYTHON'
import re, sys
UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000}
def tenth(number, unit, least): return f"{max(int(number) * UNITS[unit] // 10, least)}ms"
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"((?:for|keep_firing_for|offset):? )(\d+)([smh])\b", lambda m: m[1] + tenth(m[2], m[3], 0), text)
    text = re.sub(r"(?m)^(    interval: )(\d+)([smh])$", lambda m: m[1] + tenth(m[2], m[3], 1000), text)
    text = re.sub(r"\[(\d+)([smh])(:\d+[smh])?\]", lambda m: f"[{tenth(m[1], m[2], 3000)}{':1s' if m[3] else ''}]", text)
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
PYTHON
}
