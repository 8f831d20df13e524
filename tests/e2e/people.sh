# Sourced by the tests in which people act on the pair: who takes writes, hooks, and the pair as it was.
# shellcheck shell=bash
# shellcheck source=tests/e2e/expect.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/expect.sh"

hooks=$LAB_HOME/hooks
saved= major=

# use_version [MAJOR]: of PostgreSQL, from npm, instead of the newest one that is installed.
use_version() {
  if [ -z "${1:-}" ]; then return; fi
  PG_BIN=$("$top/tests/lab/npm_postgres" "$1") || { trap - EXIT; rm -rf "$LAB_HOME"; exit 77; }
  export PG_BIN
}

# takes_writes NODE: as an ordinary client, tried.
takes_writes() {
  sql "$1" pgrm_app testdb "insert into written values (default)" >/dev/null 2>&1
}

# writable: who takes writes now, as printed by the agent: "127.0.0.1:PORT", both joined by " and ", or "none".
writable() {
  local node text=''
  for node in primary replica; do
    if takes_writes "$node"; then text+="${text:+ and }127.0.0.1:$(port_of "$node")"; fi
  done
  echo "${text:-none}"
}

# expect_printed WHAT: the last "writable now" in $output is what a client finds.
expect_printed() {
  local printed
  printed=$(sed -n 's/^ *writable now  *//p' "$output" | tail -n 1)
  printed=${printed//localhost/127.0.0.1}  # as some cases call a server
  expect "$1: writable now, as printed" "$(writable)" "$printed"
}

# hook NAME LINE...: one more hook, which runs these lines.
hook() {
  mkdir -p "$hooks"
  printf '%s\n' '#!/bin/bash' "${@:2}" >"$hooks/$1"
  chmod +x "$hooks/$1"
}
only_hook() {
  rm -rf "$hooks"
  hook "$@"
}

# ends STATUS WRITER WHAT COMMAND...: WRITER (primary, replica, none) is the one that takes writes afterwards, as the prober finds
# and as the command has printed.
ends() {
  local writer=none
  if [ "$2" != none ]; then writer=127.0.0.1:$(port_of "$2"); fi
  expect_exit "$1" "${@:3}"
  expect "$3: who takes writes" "$writer" "$(writable)"
  expect_printed "$3"
}

# behind_the_fence LINE...: the only hook runs these lines when the fence stands.
behind_the_fence() { only_hook post_fence "$@"; }

server_conf() { echo "$SERVER_HOME/server/$1.conf"; }

spoil() { echo "this is no setting" >>"$(server_conf "$1")"; }
mend() { sed -i '/^this is no setting/d' "$(server_conf "$1")"; }

psql_line() {  # NODE DATABASE STATEMENT: a line of shell that runs it as superuser
  printf '%q ' env "PGPASSFILE=$PGPASSFILE" "$PSQL" -XqAt "host=127.0.0.1 port=$(port_of "$1") user=postgres dbname=$2" -c "$3"
}

sql_line() { psql_line "$1" postgres "$2"; }
# until_line NODE QUERY: a line that waits until QUERY says t.
until_line() { printf 'until [ "$(%s)" = t ]; do sleep 0.05; done' "$(sql_line "$1" "$2")"; }

promote_by_hand() {
  sql replica postgres postgres "select pg_promote()" >/dev/null
  sql replica postgres postgres "alter database testdb allow_connections true"
}

# The pair as it was, kept as files: restoring them takes a second.
save_pair() {
  lab down >/dev/null
  saved=$(readlink -f "$LAB_HOME/data/primary")
  saved=${saved%/*}/saved
  mkdir "$saved"
  cp -a "$(readlink -f "$LAB_HOME/data/primary")" "$(readlink -f "$LAB_HOME/data/replica")" "$saved/"
}
fresh_pair() {
  local node
  lab down >/dev/null
  for node in primary replica; do
    find "$(readlink -f "$LAB_HOME/data/$node")" -mindepth 1 -delete
    cp -a "$saved/$node/." "$(readlink -f "$LAB_HOME/data/$node")/"
  done
  rm -rf "$STATE_DIR" "$hooks" "$LAB_HOME/other_state"
  must "a fresh pair" lab up
  recall_lab
  eventually 60 "in sync" in_sync
}

# The first pair of a test, in sync and kept for the next ones.
first_pair() {
  must "a pair comes up" lab up
  recall_lab
  sql primary pgrm_app testdb "create table written (id bigint generated always as identity)"
  eventually 60 "in sync" in_sync
  save_pair
  major=${PG_VERSION%%.*}
  printf '      PostgreSQL %s, ports %s and %s\n' "$PG_VERSION" "$PRIMARY_PORT" "$REPLICA_PORT"
}
