# Sourced by the tests of the compose stack, after expect.sh: an engine, a project of its own, and questions to ask of it.
# shellcheck shell=bash disable=SC2034,SC2154

standins=$top/tests/e2e/standins
project=pgrm-e2e-$$
env_file=$LAB_HOME/env
COMPOSE=''
# What the environment says goes before .env, and expect.sh has said something.
export -n PRIMARY_PORT REPLICA_PORT EXPORTER_PORT LOADGEN_PORT LAG_THRESHOLD_BYTES

compose() {
  # shellcheck disable=SC2086  # may be two words
  $COMPOSE --project-directory "$top" --project-name "$project" --env-file "$env_file" "$@"
}

of_project() { docker "$1" ls --quiet --filter "label=com.docker.compose.project=$project" "${@:2}"; }

# shellcheck disable=SC2317 # called by the trap
clean_up() {
  local status=$?
  trap '' INT TERM
  if [ -n "$COMPOSE" ]; then
    if [ "$failed" -gt 0 ] || { [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; }; then
      compose ps --all || true
      compose logs --tail 25 2>&1 | tail -n 200 || true
    fi
    compose --profile '*' down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 || true
    if [ -z "${KEEP:-}" ]; then "$standins/engine" stop; fi
  fi
  rm -rf -- "$LAB_HOME"
  printf '\n%s: %s passed, %s failed, %s s\n' "${0##*/}" "$passed" "$failed" "$SECONDS"
  if [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi
  exit "$status"
}
trap clean_up EXIT

start_engine() {
  local settings
  settings=$("$standins/engine" start) || { status=$?; COMPOSE=''; exit "$status"; }
  eval "$settings"
  if [ -n "$DOCKER_HOST" ]; then export DOCKER_HOST; else unset DOCKER_HOST; fi
}

# Our images around programs that are compiled already, in the folder $1, on the release of Debian that the images are of.
build_around() {
  local context=$LAB_HOME/images program
  mkdir -p "$context/docker"
  cp -- "$top/packages.txt" "$1"/{exporter,loadgen,agent} "$context"
  cp -- "$top/docker/image" "$context/docker"
  # Instead of the layers that compile.
  awk '/^FROM tools AS core/ { compiles = 1 }
       /^FROM core AS / { print "FROM tools AS", $4; print "COPY", substr($4, 1, index($4, "-") - 1), "build/release/bin/"; next }
       compiles && /&& image / { sub(/^ *&&/, "RUN") ; print; next }
       /^# Debian.s, with/ { compiles = 0 }
       !compiles' "$top/Dockerfile" >"$context/Dockerfile"
  {
    echo services:
    for program in exporter loadgen agent guard pgbouncer; do printf '  %s: {build: {context: %s}}\n' "$program" "$context"; done
  } >"$context/override.yml"
  compose --file "$top/docker-compose.yml" --file "$context/override.yml" --profile '*' build --quiet
}

# set_env NAME VALUE: in the stack's .env.
set_env() {
  sed -i "/^$1=/d" "$env_file"
  printf '%s=%s\n' "$1" "$2" >>"$env_file"
}

# Where each port is on this machine: name and value, as in .env.
write_env() {
  local name port=20000
  cp -- "$top/.env.example" "$env_file"
  for name in PRIMARY REPLICA EXPORTER LOADGEN PROMETHEUS ALERTMANAGER GRAFANA PGBOUNCER; do
    port=$(free_port $((port + 1)))
    set_env "${name}_PORT" "$port"
    printf -v "${name}_PORT" '%s' "$port"
  done
  set_env MONITORING_INTERVAL 1
  set_env LOAD_OPS_PER_SECOND 50
  # Between two observations on a busy machine more is written than the default allows.
  set_env LAG_THRESHOLD_BYTES 65536
}

# --- The servers --------------------------------------------------------------------------------------------------------

in_server() { compose exec -T "$1" psql -XqAt -d postgres -c "$2"; }
in_recovery() { in_server "$1" "select pg_is_in_recovery()"; }
roles() { printf '%s%s' "$(in_recovery primary)" "$(in_recovery replica)"; }
roles_are() { [ "$(roles)" = "$1" ]; }
is_read_only() { [ "$(in_server "$1" "show default_transaction_read_only")" = on ]; }
is_closed() { [ "$(in_server "$1" "select datallowconn from pg_database where datname = 'testdb'")" = f ]; }
streams_from() { [ "$(in_server "$1" "select count(*) from pg_stat_replication where state = 'streaming'")" = 1 ]; }
load_is_on() { [ "$(in_server "$1" "select count(*) > 0 from pg_stat_activity where usename = 'pgrm_app'")" = t ]; }
slots() { in_server "$1" "select string_agg(slot_name || ':' || active, ' ') from pg_replication_slots"; }
slots_are() { [ "$(slots "$1")" = "$2" ]; }
cluster_of() { in_server "$1" "select system_identifier from pg_control_system()"; }
logs_of() { compose logs --no-log-prefix --no-color "$@" 2>&1; }
started_at() { docker inspect --format '{{.State.StartedAt}}' "$(compose ps --all --quiet "$1")"; }

# --- The programs -------------------------------------------------------------------------------------------------------

ready() { compose run --rm -T agent preflight "$@" </dev/null; }

writes_go_on() {
  local before
  # loadgen may be about to start.
  eventually 90 "$1: loadgen answers" acknowledged_is_a_number
  before=$(acknowledged)
  eventually 60 "$1" acknowledged_more_than $((before + 50))
}
acknowledged_is_a_number() { [[ $(acknowledged) =~ ^[0-9]+$ ]]; }

run_agent() { compose run --rm -T "$@" </dev/null; }

# --- Prometheus and Alertmanager ----------------------------------------------------------------------------------------

# ask QUERY: the first value that Prometheus has for it, nothing when there is none.
ask() {
  curl -fsS --max-time 5 --data-urlencode "query=$1" "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" |
    sed -n 's/.*"value":\[[^,]*,"\([^"]*\)"\].*/\1/p' | head -n 1
}
has() { [ -n "$(ask "$1")" ]; }
says() { [ "$(ask "$1")" = "$2" ]; }

# Alerts that Alertmanager has and would tell: one name a line.
alerts() {
  curl -fsS --max-time 5 "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts?active=true&silenced=false&inhibited=false" |
    grep -o '"alertname":"[^"]*"' | cut -d'"' -f4 | sort -u
}
alerted() { alerts | grep -qx "$1"; }
not_alerted() { ! alerted "$1"; }
