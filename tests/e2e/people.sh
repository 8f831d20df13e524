# Sourced by the tests in which people act on the pair: who takes writes, hooks, and the pair as it was.
# shellcheck shell=bash
# shellcheck source=tests/e2e/expect.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/expect.sh"

hooks=$LAB_HOME/hooks
saved=

in_sync() { [ "$(metric "$EXPORTER_PORT" pgrm_in_sync)" = 1 ]; }
port_of() { if [ "$1" = primary ]; then echo "$PRIMARY_PORT"; else echo "$REPLICA_PORT"; fi; }

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
  expect "$1: writable now, as printed" "$(writable)" "$printed"
}

# behind_the_fence LINE...: a hook that runs these lines when the fence stands.
behind_the_fence() {
  rm -rf "$hooks"
  mkdir "$hooks"
  printf '%s\n' '#!/bin/bash' "$@" >"$hooks/post_fence"
  chmod +x "$hooks/post_fence"
}

server_conf() { echo "$SERVER_HOME/server/$1.conf"; }

spoil() { echo "this is no setting" >>"$(server_conf "$1")"; }
mend() { sed -i '/^this is no setting/d' "$(server_conf "$1")"; }

psql_line() {  # NODE DATABASE STATEMENT: a line of shell that runs it as superuser
  printf '%q ' env "PGPASSFILE=$PGPASSFILE" "$PSQL" -XqAt "host=127.0.0.1 port=$(port_of "$1") user=postgres dbname=$2" -c "$3"
}

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
}
