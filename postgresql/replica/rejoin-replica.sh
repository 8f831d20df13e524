#!/usr/bin/env bash
# rejoin-replica.sh [--check]: makes the *stopped* server of PGDATA, a former primary, a standby of the new primary. With
# pg_rewind where there is one; else, or where it fails, with a new base copy. --check only says whether it could.
# What the former primary wrote after the new one was promoted is lost. Harmless to run again.
#
#   PGDATA                       the former primary's data directory
#   SOURCE                       conninfo of the new primary as a superuser, or as a role with the rights that pg_rewind's
#                                manual page names
#   PRIMARY_HOST, PRIMARY_PORT   where the standby will stream from
#   REPLICATION_USER             the role that it streams as (replicator)
#   REPLICATION_PASSFILE         where the server finds its password (default: replication.pgpass beside PGDATA)
#   REPLICATION_SLOT             the new primary's slot for it
#   PSQL                         psql, if it is not in PATH
#   SOURCE_PGDATA                the new primary's data directory, when it is on this machine: for a PostgreSQL that comes
#                                with neither pg_rewind nor pg_basebackup
set -euo pipefail

PGDATA=${PGDATA:?rejoin-replica: PGDATA is not set}
source=${SOURCE:?rejoin-replica: SOURCE is not set}
slot=${REPLICATION_SLOT:?rejoin-replica: REPLICATION_SLOT is not set}
primary_host=${PRIMARY_HOST:-localhost}
primary_port=${PRIMARY_PORT:-5432}
replication_user=${REPLICATION_USER:-replicator}
passfile=${REPLICATION_PASSFILE:-$(dirname -- "$PGDATA")/replication.pgpass}
copy=$PGDATA/rejoin-copy  # inside: whoever owns the data directory need not own the one above
psql=${PSQL:-psql}

say() { printf 'rejoin-replica: %s\n' "$*"; }
fail() { say "$1"; printf 'hint: %s\n' "$2"; exit 1; }
have() { command -v "$1" >/dev/null; }

# One value of a conninfo string; and one string of postgresql.conf.
conninfo_value() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\\\'}"; }
conf_string() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\'\'}"; }

ways() {
  local -a found=()
  if have pg_rewind; then found+=(pg_rewind); fi
  if have pg_basebackup; then found+=(pg_basebackup); fi
  if have "$psql" && [ -n "${SOURCE_PGDATA:-}" ]; then found+=("a copy of $SOURCE_PGDATA"); fi
  [ "${#found[@]}" -gt 0 ] || fail "neither pg_rewind nor pg_basebackup is in PATH, and SOURCE_PGDATA is not set" "install the server's own tools"
  printf '%s, ' "${found[@]}"
}

stopped() {
  local pid=''
  read -r pid 2>/dev/null <"$PGDATA/postmaster.pid" || return 0
  [ ! "/proc/$pid/cwd" -ef "$PGDATA" ]
}

rewind() {
  have pg_rewind || { say "there is no pg_rewind in PATH: a new base copy instead"; return 1; }
  say "pg_rewind"
  pg_rewind --target-pgdata "$PGDATA" --source-server "$source" && return 0
  say "pg_rewind failed: a new base copy instead"
  return 1
}

new_copy() {
  rm -rf -- "$copy"
  mkdir -m 0700 -- "$copy"
  # The pg_basebackup in PATH may be of an older version than the server.
  if ! have pg_basebackup || ! copy_with_basebackup; then copy_by_hand; fi
  become_standby "$copy"
  # Complete: only now does the old one go. Without PG_VERSION no server starts, and the next run starts again.
  rm -f -- "$PGDATA/PG_VERSION"
  sync "$PGDATA"
  find "$PGDATA" -mindepth 1 -maxdepth 1 ! -path "$copy" -exec rm -rf -- {} +
  find "$copy" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" -- {} +
  mv -- "$copy/PG_VERSION" "$PGDATA/"
  rmdir -- "$copy"
  sync -f "$PGDATA"
}

copy_with_basebackup() {
  say "base backup of $primary_host:$primary_port"
  pg_basebackup --dbname "$source" --pgdata "$copy" --slot "$slot" --wal-method stream --checkpoint fast --no-password
}

# The low-level interface (manual, "Making a Base Backup Using the Low Level API"): the slot keeps the WAL in between.
copy_by_hand() {
  local major start stop
  [ -n "${SOURCE_PGDATA:-}" ] || fail "SOURCE_PGDATA is not set" "set it to the new primary's data directory"
  say "copy of $SOURCE_PGDATA, while it runs"
  major=$("$psql" -XqAt -d "$source" -c "show server_version_num")
  start="pg_catalog.pg_backup_start('rejoin', true)" stop="pg_catalog.pg_backup_stop(false)"
  if [ "$major" -lt 150000 ]; then start="pg_catalog.pg_start_backup('rejoin', true, false)" stop="pg_catalog.pg_stop_backup(false, false)"; fi
  export copy SOURCE_PGDATA LC_ALL=C
  # shellcheck disable=SC2016 # psql's shell expands them
  "$psql" -XqAt -v ON_ERROR_STOP=1 -d "$source" -f - <<END
set role none;  -- neither this nor what is found is up to whoever owns the database
set search_path = pg_catalog, pg_temp;
select $start \\g /dev/null
\\! find "\$SOURCE_PGDATA" -mindepth 1 -maxdepth 1 ! -name pg_wal ! -name postmaster.pid ! -name postmaster.opts ! -name pg_replslot ! -name standby.signal -exec cp -a -t "\$copy" -- {} + 2>"\$copy/errors"
\\pset tuples_only on
select labelfile from $stop \\g $copy/backup_label
END
  grep -q '^START WAL LOCATION' "$copy/backup_label" || fail "the copy has no backup label" "look at the messages above"
  # Files that come and go while it runs are what WAL replay is for; anything else is an incomplete copy.
  if grep -v 'No such file or directory$' "$copy/errors"; then fail "the copy is not complete" "look at the messages above"; fi
  rm -f -- "$copy/errors"
  mkdir -m 0700 -- "$copy/pg_wal" "$copy/pg_replslot"
}

# become_standby DIRECTORY: postgresql.auto.conf came with the copy and may hold the primary's own past.
become_standby() {
  local conninfo file=$1/postgresql.auto.conf
  conninfo="host=$(conninfo_value "$primary_host") port=$primary_port user=$(conninfo_value "$replication_user")"
  conninfo+=" passfile=$(conninfo_value "$passfile")"
  if [ -e "$file" ]; then sed -i -E '/^(primary_conninfo|primary_slot_name)[ =]/d' "$file"; fi
  printf "primary_conninfo = %s\nprimary_slot_name = %s\n" "$(conf_string "$conninfo")" "$(conf_string "$slot")" >>"$file"
  : >"$1/standby.signal"
  sync -f "$1"
}

[ -d "$PGDATA" ] || fail "$PGDATA is not there" "set PGDATA to the former primary's data directory"
how=$(ways)
if [ "${1:-}" = --check ]; then
  say "could use ${how%, }"
  exit 0
fi
stopped || fail "the server in $PGDATA runs" "stop it first"
# Without PG_VERSION, a new copy was interrupted: there is nothing to rewind.
if [ -e "$PGDATA/PG_VERSION" ] && rewind; then become_standby "$PGDATA"; else new_copy; fi
say "$PGDATA is a standby of $primary_host:$primary_port"
