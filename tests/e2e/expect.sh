# Sourced by the end-to-end tests: a lab of their own, and one line for every assertion.
# shellcheck shell=bash
set -euo pipefail

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_HOME=$(mktemp -d "${TMPDIR:-/tmp}/pgrm-e2e.XXXXXX")
export LAB_HOME
unset POSTGRES_DB MAINTENANCE_DB
for variable in $(compgen -e PG); do case $variable in PG_* | PGRM_*) ;; *) unset "$variable" ;; esac; done
# Somewhere below the ports that the kernel hands out: labs that all began at 5432 would take each other's while a server is
# down on purpose.
base=$((10000 + RANDOM % 2700 * 8))
export PRIMARY_PORT=$base REPLICA_PORT=$((base + 1)) EXPORTER_PORT=$((base + 2)) LOADGEN_PORT=$((base + 3))
passed=0 failed=0
output=$LAB_HOME/output  # of the last command that was run by `run`

lab() { "$top/lab" "$@"; }

pass() { passed=$((passed + 1)); printf 'ok    %s\n' "$1"; }

wrong() {
  failed=$((failed + 1))
  printf 'WRONG %s\n      expected: %s\n      observed: %s\n' "$1" "$2" "$3"
}

# expect WHAT EXPECTED OBSERVED
expect() { if [ "$2" = "$3" ]; then pass "$1: $3"; else wrong "$1" "$2" "$3"; fi; }

# expect_same WHAT BEFORE AFTER: of long texts, of which only the difference is of interest.
expect_same() {
  if [ "$2" = "$3" ]; then pass "$1: the same"; return; fi
  wrong "$1" "the same" "a difference (< before, > after)"
  diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") | sed 's/^/      | /' || true
}

# expect_match WHAT PATTERN TEXT: an extended regular expression.
expect_match() { if [[ $3 =~ $2 ]]; then pass "$1: ${BASH_REMATCH[0]}"; else wrong "$1" "$2" "$3"; fi; }

# run COMMAND...: keeps its output in $output and its exit status in $status.
run() {
  status=0
  "$@" >"$output" 2>&1 </dev/null || status=$?
}

# expect_exit STATUS WHAT COMMAND...
expect_exit() {
  local wanted=$1 what=$2
  shift 2
  run "$@"
  expect "$what: exit status" "$wanted" "$status"
  if [ "$status" != "$wanted" ]; then sed 's/^/      | /' "$output"; fi
}

# must WHAT COMMAND...: without it the rest makes no sense.
must() {
  local what=$1
  shift
  run "$@"
  if [ "$status" = 0 ]; then pass "$what"; return; fi
  wrong "$what" "exit status 0" "exit status $status"
  sed 's/^/      | /' "$output"
  exit 1
}

# eventually SECONDS WHAT COMMAND...: COMMAND succeeds within SECONDS.
eventually() {
  local seconds=$1 what=$2 deadline=$((SECONDS + $1))
  shift 2
  until "$@" >"$output" 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      wrong "$what" "within $seconds s" "not so: $(tail -n 1 "$output")"
      return
    fi
    sleep 0.1
  done
  pass "$what"
}

# free_port FIRST: the first port from FIRST on that nobody has.
free_port() {
  local port=$1 hex
  while printf -v hex '%04X' "$port" && grep -qsE "^ *[0-9]+: [0-9A-F]+:$hex " /proc/net/tcp /proc/net/tcp6; do
    port=$((port + 1))
  done
  printf '%s' "$port"
}

port_of() { if [ "$1" = primary ]; then echo "$PRIMARY_PORT"; else echo "$REPLICA_PORT"; fi; }

# sql NODE ROLE DATABASE STATEMENT: rows without decoration; errors as a bare SQLSTATE.
sql() {
  PGPASSFILE=$PGPASSFILE PGCONNECT_TIMEOUT=5 "$PSQL" -XqAt -v ON_ERROR_STOP=1 -v VERBOSITY=sqlstate \
    "host=127.0.0.1 port=$(port_of "$1") user=$2 dbname=$3" -c "$4" 2>&1
}

# metric PORT NAME: its value as a whole number, nothing when it is not there.
metric() {
  local value
  value=$(curl --silent --max-time 2 "http://127.0.0.1:$1/metrics" | sed -n "s/^$2 //p") || true
  printf '%s' "${value%.*}"
}

in_sync() { [ "$(metric "$EXPORTER_PORT" pgrm_in_sync)" = 1 ]; }
acknowledged() { metric "$LOADGEN_PORT" pgrm_loadgen_acknowledged_writes_total; }
acknowledged_more_than() { [ "$(acknowledged)" -gt "$1" ]; }

# Settings of both servers, of roles and of databases: what a dry run must leave alone.
settings_of_pair() {
  local node
  for node in primary replica; do
    sql "$node" postgres postgres "select name, setting, reset_val, source, sourcefile from pg_settings order by 1"
    sql "$node" postgres postgres "select setdatabase, setrole, setconfig from pg_db_role_setting order by 1, 2"
    sql "$node" postgres postgres "select datname, datallowconn, datconnlimit, datacl from pg_database order by 1"
  done
}

# How long the promotion of the newest report took, and how long was predicted.
promotion_was_predicted() {
  local took predicted
  read -r took predicted < <(python3 - "$(find "$STATE_DIR" -name report.json | sort | tail -n 1)" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
took = next(step["seconds"] for step in report["steps"] if step["name"] == "promote")
predicted = next(part["seconds"] for part in report["prediction"]["parts"] if part["step"] == "promote")
print("%.3f %.3f" % (took, predicted))
END
  )
  echo "      the promotion took $took s, predicted were $predicted s; $(grep -o 'writes stopped for.*' "$output")"
  expect "the prediction was not out by more than a factor of four, or 100 ms" yes \
    "$(awk -v p="$predicted" -v t="$took" 'BEGIN { if (t < 4 * p + 0.1 && p < 4 * t + 0.1) print "yes" }')"
}

recall_lab() {
  # shellcheck source=/dev/null
  . "$LAB_HOME/data/lab.env"
}

# A test may define at_end to stop what it started itself.
finish() {
  local status=$?
  if declare -F at_end >/dev/null; then at_end; fi
  if [ "$failed" -gt 0 ] || [ "$status" -ne 0 ]; then
    for log in "$LAB_HOME"/logs/*.log; do
      printf '\n--- the end of %s ---\n' "${log##*/}"
      tail -n 15 "$log"
    done 2>/dev/null || true
  fi
  lab down --wipe >/dev/null 2>&1 || true
  rm -rf -- "$LAB_HOME"
  [ "$status" -eq 0 ] || echo "ended early, status $status"
  printf '\n%s: %s passed, %s failed\n' "${0##*/}" "$passed" "$failed"
  if [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM
