# Sourced after e2e/expect.sh: real pairs of small servers, made by the scripts of postgresql/, each a cluster of its own.
# shellcheck shell=bash disable=SC2154  # top and LAB_HOME are of expect.sh

pg_bin=${PG_BIN:-$(dirname -- "$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1)")}
pairs_home=$LAB_HOME/pairs
declare -A port_of_primary  # by the pair's name; the replica's is the next one
next_port=$((base + 4))     # base is of expect.sh, too

# PostgreSQL refuses root.
as_server() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups env -C / HOME=/nonexistent "$@"; else env -C / "$@"; fi
}
own() { if [ "$(id -u)" = 0 ]; then install -d -m 0700 -o postgres -g postgres -- "$@"; else install -d -m 0700 -- "$@"; fi; }

prepare_pairs() {
  local name
  chmod 0755 "$LAB_HOME"
  mkdir "$pairs_home"
  cp -a -- "$top/postgresql" "$pairs_home/postgresql"  # where the servers' user can read it
  chmod -R a+rX "$pairs_home/postgresql"
  mkdir -m 0700 "$LAB_HOME/secrets"
  for name in postgres replicator pgrm_monitor pgrm_app pgrm_agent; do
    od -An -tx1 -N20 /dev/urandom | tr -d ' \n' >"$LAB_HOME/secrets/$name"
    printf '*:*:*:%s:%s\n' "$name" "$(<"$LAB_HOME/secrets/$name")" >>"$LAB_HOME/secrets/pgpass"
  done
  chmod 0600 "$LAB_HOME"/secrets/*
}

# start_node PAIR NODE PORT
start_node() {
  local home=$pairs_home/$1
  as_server tee -- "$home/$2.conf" >/dev/null <<CONF
include '$pairs_home/postgresql/$2/postgresql.conf'
hba_file = '$pairs_home/postgresql/$2/pg_hba.conf'
port = $3
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 40
shared_buffers = 8MB
max_wal_size = 128MB
min_wal_size = 32MB
wal_keep_size = 32MB
autovacuum_naptime = 10min
CONF
  as_server "$pg_bin/pg_ctl" start --silent --wait --timeout 60 -D "$home/$2" -l "$home/$2.log" -o "-c config_file=$home/$2.conf"
}

# make_pair NAME: two servers, the application's database `shop`, and the roles of the exporter and the agent.
make_pair() {
  local home=$pairs_home/$1 port secrets=$LAB_HOME/secrets
  port=$(free_port "$next_port")
  while [ "$(free_port $((port + 1)))" != $((port + 1)) ]; do port=$(free_port $((port + 2))); done
  next_port=$((port + 2))
  port_of_primary[$1]=$port
  own "$home"
  as_server tee -- "$home/password" <"$secrets/postgres" >/dev/null
  as_server "$pg_bin/initdb" -D "$home/primary" --username postgres --pwfile "$home/password" --auth scram-sha-256 \
    --data-checksums --encoding UTF8 --locale C.UTF-8 --no-sync
  rm -- "$home/password"
  start_node "$1" primary "$port"
  PATH=$pg_bin:$PATH PGHOST=127.0.0.1 PGPORT=$port PGPASSFILE=$secrets/pgpass POSTGRES_USER=postgres POSTGRES_DB=shop \
    REPLICATION_PASSWORD_FILE=$secrets/replicator MONITOR_PASSWORD_FILE=$secrets/pgrm_monitor \
    APP_PASSWORD_FILE=$secrets/pgrm_app AGENT_PASSWORD_FILE=$secrets/pgrm_agent bash "$top/postgresql/primary/init-primary.sh"
  on_pair "$1" primary pgrm_app shop \
    "create table witness_writes (id bigint primary key, writer text, at timestamptz default clock_timestamp())"
  own "$home/replica"
  REPLICATION_PASSWORD=$(<"$secrets/replicator") as_server env PATH="$pg_bin:$PATH" PGDATA="$home/replica" \
    PRIMARY_HOST=127.0.0.1 PRIMARY_PORT="$port" REPLICATION_PASSFILE="$home/replication.pgpass" \
    bash "$pairs_home/postgresql/replica/init-replica.sh"
  start_node "$1" replica $((port + 1))
  # Whatever went wrong above is seen here.
  [ "$(on_pair "$1" replica pgrm_agent shop 'select count(*) from witness_writes where pg_is_in_recovery()')" = 0 ]
}

# on_pair PAIR NODE ROLE DATABASE STATEMENT
on_pair() {
  local port=${port_of_primary[$1]}
  if [ "$2" = replica ]; then port=$((port + 1)); fi
  PGPASSFILE=$LAB_HOME/secrets/pgpass PGCONNECT_TIMEOUT=5 "$pg_bin/psql" -XqAt -v ON_ERROR_STOP=1 \
    "host=127.0.0.1 port=$port user=$3 dbname=$4" -c "$5" 2>&1
}

stop_pairs() {
  local data
  for data in "$pairs_home"/*/primary "$pairs_home"/*/replica; do
    if [ -e "$data/postmaster.pid" ]; then as_server "$pg_bin/pg_ctl" stop --silent --mode immediate -D "$data" || true; fi
  done
}
