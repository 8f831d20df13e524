# Sourced by the tests of the hooks: two real PostgreSQL servers, a client that writes all the time, and a hook run as the
# agent runs it. The servers are called old and new (cluster_name), and every write says which of them took it.
# shellcheck shell=bash
# shellcheck source=tests/e2e/expect.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../e2e/expect.sh"

pids=()     # of what the test starts; ended in at_end
servers=()  # of PostgreSQL: SIGINT, or it waits for its sessions
written=$LAB_HOME/written errors=$LAB_HOME/errors
postgres_bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
psql=$postgres_bin/psql

skip() {
  echo "skipped: $1"
  trap - EXIT
  rm -rf -- "$LAB_HOME"
  exit 77
}

# needs PROGRAM...: packages.txt, group hooks, has them all.
needs() {
  local program
  PATH=$PATH:/usr/sbin:/sbin
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "no $program: ./lab setup hooks installs it"
  done
}

# A test of its own network: nobody else's ports and addresses. Called first; runs the script again inside.
in_own_network() {
  if [ -n "${OWN_NETWORK:-}" ]; then ip link set lo up; return; fi
  unshare --net --mount true 2>/dev/null || skip "no network namespaces: it needs root"
  trap - EXIT
  rm -rf -- "$LAB_HOME"
  OWN_NETWORK=yes exec unshare --net --mount "$0" "$@"
}

as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups env -C / "$@"; else "$@"; fi
}

# start_postgres NAME ADDRESS PORT [PREFIX]...
start_postgres() {
  local name=$1 address=$2 port=$3 data=$LAB_HOME/pg/$1
  shift 3
  as_postgres cp -a "$LAB_HOME/pg/template" "$data"
  "$@" setpriv ${as_server[@]+"${as_server[@]}"} env -C / "$postgres_bin/postgres" -D "$data" -c "listen_addresses=$address" -c "port=$port" \
    -c "cluster_name=$name" -c "unix_socket_directories=" -c fsync=off >"$LAB_HOME/logs/$name.log" 2>&1 &
  servers+=("$!")
  within 20 "PostgreSQL $name runs, $address:$port" "$@" "$postgres_bin/psql" -XqAt \
    "host=$([ "$address" = '*' ] && echo 127.0.0.1 || echo "$address") port=$port user=postgres" -c "create table if not exists writes (server text)"
}

as_server=()
make_template() {
  if [ "$(id -u)" = 0 ]; then as_server=(--reuid postgres --regid postgres --init-groups); fi
  chmod 755 "$LAB_HOME"
  mkdir "$LAB_HOME/pg"
  if [ "$(id -u)" = 0 ]; then chown postgres "$LAB_HOME/pg"; fi
  as_postgres "$postgres_bin/initdb" -D "$LAB_HOME/pg/template" -U postgres -A trust --no-sync >/dev/null
  echo "host all all all trust" >>"$LAB_HOME/pg/template/pg_hba.conf"
}

write_statement="insert into writes select current_setting('cluster_name') returning server"

# client CONNINFO: one session for as long as it lives, and the next one when it ends. Where each write went is in $written.
client() {
  while :; do
    while :; do echo "$write_statement;"; sleep 0.02; done 2>/dev/null |
      PGCONNECT_TIMEOUT=2 "$psql" -XqAt "$1 user=postgres dbname=postgres" \
        >>"$written" 2>>"$errors" || true
    sleep 0.02
  done
}

# newcomer CONNINFO: a session for each write.
newcomer() {
  while :; do
    PGCONNECT_TIMEOUT=2 "$psql" -XqAt "$1 user=postgres dbname=postgres" \
      -c "$write_statement" >>"$written" 2>>"$errors" || true
    sleep 0.02
  done
}

# in_background COMMAND...: a group of its own, so that at_end ends all of it.
in_background() {
  set -m
  "$@" &
  pids+=("-$!")
  set +m
}

writes_of() { grep -c "^$1\$" "$written" || true; }
three_more_on() { [ "$(writes_of "$1")" -ge $(($2 + 3)) ]; }

# client_writes_on SERVER: and nowhere else any more.
client_writes_on() {
  local other=old before
  if [ "$1" = old ]; then other=new; fi
  within 15 "the client writes on the $1 server" three_more_on "$1" "$(writes_of "$1")"
  before=$(writes_of "$other")
  within 15 "and goes on" three_more_on "$1" "$(writes_of "$1")"
  expect "and writes nowhere else: writes on the $other server" "$before" "$(writes_of "$other")"
}

# within SECONDS WHAT COMMAND...: eventually, or the rest makes no sense.
within() {
  local before=$failed
  eventually "$@"
  [ "$failed" = "$before" ] || exit 1
}

# hook NAME EVENT: as the agent runs it. OLD and NEW are HOST:PORT.
hook() { env PGRM_HOOK="$2" PGRM_CUTOVER=test PGRM_OLD_PRIMARY="$OLD" PGRM_NEW_PRIMARY="$NEW" PGRM_DATABASE=postgres "$top/hooks/$1"; }
check() { env PGRM_OLD_PRIMARY="$OLD" PGRM_NEW_PRIMARY="$NEW" "$top/hooks/$1" --check; }

# timed WHAT STATUS COMMAND...: and how long it took.
timed() {
  local begin=$EPOCHREALTIME end
  expect_exit "$2" "$1" "${@:3}"
  end=$EPOCHREALTIME
  printf '      %s ms: %s\n' $(((${end/./} - ${begin/./}) / 1000)) "$(tail -n 1 "$output")"
}

# moves_there_and_back NAME: the client follows the hook, and comes back when it is undone.
moves_there_and_back() {
  local time
  client_writes_on old
  timed "--check" 0 check "$1"
  timed "pre_fence" 0 hook "$1" pre_fence
  client_writes_on old
  timed "on_undo before anything was moved" 0 hook "$1" on_undo
  client_writes_on old
  for time in first second; do
    timed "post_promote, the $time time" 0 hook "$1" post_promote
    client_writes_on new
  done
  for time in first second; do
    timed "on_undo, the $time time" 0 hook "$1" on_undo
    client_writes_on old
  done
}

# refuses WHAT PATTERN COMMAND...: it fails, says why and what to do, and changes nothing.
refuses() {
  expect_exit 1 "$1" "${@:3}"
  expect_match "$1" "$2" "$(<"$output")"
}

nothing_left() { ! pgrep -af "$LAB_HOME"; }

# shellcheck disable=SC2317 # called by expect.sh
at_end() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -- "$pid" 2>/dev/null || true; done
  for pid in ${servers[@]+"${servers[@]}"}; do kill -INT "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  eventually 10 "no process is left" nothing_left
}
mkdir "$LAB_HOME/logs"
touch "$written" "$errors"
