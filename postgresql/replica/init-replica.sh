#!/usr/bin/env bash
# init-replica.sh [COMMAND…]: makes PGDATA a hot standby of the primary if it is empty, then runs COMMAND if one is given.
# Harmless to run again: a complete data directory is left alone, whatever its server has become since (after the cutover
# it is the primary); one that an interruption left half-filled is filled anew.
#
#   PGDATA                                 the replica's data directory
#   PRIMARY_HOST, PRIMARY_PORT             localhost, 5432
#   REPLICATION_USER, REPLICATION_SLOT     replicator, replica_slot
#   REPLICATION_PASSWORD                   or REPLICATION_PASSWORD_FILE
#   REPLICATION_PASSFILE                   where the server finds the password (default: replication.pgpass beside PGDATA)
#   PRIMARY_TIMEOUT                        how long to wait for the primary (60 s)
#   COLD_COPY_OF                           the data directory of the *stopped* primary: copied instead of pg_basebackup,
#                                          for a PostgreSQL that comes without it
set -euo pipefail

PGDATA=${PGDATA:?init-replica: PGDATA is not set}
primary_host=${PRIMARY_HOST:-localhost}
primary_port=${PRIMARY_PORT:-5432}
replication_user=${REPLICATION_USER:-replicator}
slot=${REPLICATION_SLOT:-replica_slot}
passfile=${REPLICATION_PASSFILE:-$(dirname -- "$PGDATA")/replication.pgpass}
incoming=$PGDATA/incoming

say() { printf 'init-replica: %s\n' "$*" >&2; }
fail() { say "$1"; printf 'hint: %s\n' "$2" >&2; exit 1; }

# PostgreSQL refuses root, which is what a container starts as.
leave_root() {
  [ "$(id -u)" = 0 ] || return 0
  install -d -o postgres -g postgres -m 0700 -- "$PGDATA"
  if command -v gosu >/dev/null; then exec gosu postgres "$0" "$@"; fi
  exec setpriv --reuid postgres --regid postgres --init-groups -- "$0" "$@"
}

write_passfile() {
  local password=${REPLICATION_PASSWORD:-}
  if [ -z "$password" ] && [ -n "${REPLICATION_PASSWORD_FILE:-}" ]; then password=$(<"$REPLICATION_PASSWORD_FILE"); fi
  if [ -z "$password" ]; then
    [ -r "$passfile" ] || fail "REPLICATION_PASSWORD is not set" "set it, or REPLICATION_PASSWORD_FILE to a file that holds it"
    return 0
  fi
  password=${password//\\/\\\\}
  rm -f -- "$passfile.new"
  (umask 077 && printf '*:*:*:%s:%s\n' "$replication_user" "${password//:/\\:}" >"$passfile.new")
  mv -- "$passfile.new" "$passfile"
}

# One value of a conninfo string; and one string of postgresql.conf.
conninfo_value() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\\\'}"; }
conf_string() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\'\'}"; }

conninfo() {
  printf 'host=%s port=%s user=%s passfile=%s' "$(conninfo_value "$primary_host")" "$primary_port" \
    "$(conninfo_value "$replication_user")" "$(conninfo_value "$passfile")"
}

wait_for_primary() {
  local deadline=$((SECONDS + ${PRIMARY_TIMEOUT:-60}))
  until (: <>"/dev/tcp/$primary_host/$primary_port") 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "primary at $primary_host:$primary_port not reached within ${PRIMARY_TIMEOUT:-60} s" "start it, or set PRIMARY_HOST and PRIMARY_PORT"
    sleep 0.2
  done
}

copy_with_basebackup() {
  wait_for_primary
  say "base backup of $primary_host:$primary_port"
  pg_basebackup --dbname "$(conninfo) application_name=init-replica" --pgdata "$incoming" --slot "$slot" \
    --wal-method stream --checkpoint fast --no-password
}

copy_cold() {
  [ ! -e "$COLD_COPY_OF/postmaster.pid" ] || fail "the server in $COLD_COPY_OF runs" "stop it before it is copied"
  say "cold copy of $COLD_COPY_OF"
  cp -a -- "$COLD_COPY_OF/." "$incoming/"
  rm -rf -- "$incoming"/pg_replslot/* "$incoming"/postmaster.opts
  sync -f "$incoming"
}

become_standby_of_primary() {
  : >"$incoming/standby.signal"
  printf "primary_conninfo = %s\nprimary_slot_name = %s\n" "$(conf_string "$(conninfo)")" "$(conf_string "$slot")" \
    >>"$incoming/postgresql.auto.conf"
}

# Everything is written beside its final place and moved in at the end, PG_VERSION last: where that file stands the copy
# is complete. Without this, a base backup cut short could start as a second primary.
fill_data_directory() {
  if [ -e "$incoming" ]; then
    say "an earlier copy was interrupted: starting again"
    find "$PGDATA" -mindepth 1 -delete
  fi
  [ -z "$(find "$PGDATA" -mindepth 1 ! -name lost+found -print -quit)" ] ||
    fail "$PGDATA is neither empty nor a data directory" "empty it, or set PGDATA to another one"
  mkdir -m 0700 -- "$incoming"
  if [ -n "${COLD_COPY_OF:-}" ]; then copy_cold; else copy_with_basebackup; fi
  become_standby_of_primary
  chmod 0700 "$PGDATA"
  find "$incoming" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" -- {} +
  sync "$PGDATA"
  mv -- "$incoming/PG_VERSION" "$PGDATA/"
  rmdir -- "$incoming"
  sync "$PGDATA"
}

leave_root "$@"
write_passfile
if [ -e "$PGDATA/PG_VERSION" ]; then
  say "$PGDATA is there already: left as it is"
else
  mkdir -p -- "$PGDATA"
  fill_data_directory
fi
if [ $# -gt 0 ]; then exec "$@"; fi
