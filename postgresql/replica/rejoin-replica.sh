#!/usr/bin/env bash
# rejoin-replica.sh [--check | --diverged]: makes the *stopped* server of PGDATA, a former primary, a standby of the new
# primary. With pg_rewind where there is one; else, or where it fails, with a new base copy. Harmless to run again, also after it was
# killed: until it has ended, the machine's own configuration is kept beside PGDATA, or beside the file with the password.
# What the former primary has committed and the new one does not have is lost by that. --diverged prints it, a line for
# each relation and kind of change, and nothing when there is none. --check only says whether it could.
#
#   PGDATA                       the former primary's data directory
#   SOURCE                       conninfo of the new primary as a superuser, or as a role with the rights that pg_rewind's
#                                manual page names
#   PRIMARY_HOST, PRIMARY_PORT   where the standby will stream from
#   REPLICATION_USER             the role that it streams as (replicator)
#   REPLICATION_PASSFILE         where the server finds its password (default: replication.pgpass beside PGDATA)
#   REPLICATION_OPTIONS          more of its primary_conninfo, "sslmode=verify-full sslrootcert=system" (default: how the
#                                new primary was encrypted when it was a standby)
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
copy=$PGDATA/rejoin-copy  # inside: the owner of the data directory need not own the one above
psql=${PSQL:-psql}

say() { printf 'rejoin-replica: %s\n' "$*"; }
fail() { say "$1"; printf 'hint: %s\n' "$2"; exit 1; }
have() { command -v "$1" >/dev/null; }

# One value of a conninfo string; and one string of postgresql.conf.
conninfo_value() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\\\'}"; }
conf_string() { local v=${1//\\/\\\\}; printf "'%s'" "${v//\'/\'\'}"; }

# Sets `how`.
ways() {
  local -a found=()
  if have pg_rewind; then found+=(pg_rewind); fi
  if have pg_basebackup; then found+=(pg_basebackup); fi
  if have "$psql" && [ -n "${SOURCE_PGDATA:-}" ]; then found+=("a copy of $SOURCE_PGDATA"); fi
  [ "${#found[@]}" -gt 0 ] || fail "neither pg_rewind nor pg_basebackup is in PATH, and SOURCE_PGDATA is not set" "install the server's own tools"
  printf -v how '%s, ' "${found[@]}"
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
set role none;  -- the owner of the database decides neither this nor what is found
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

# The machine's own configuration and keys, where they lie in the data directory: both ways bring over the new primary's.
own_files() {
  local name
  for name in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf conf.d server.key server.crt root.crt root.crl; do
    if [ -e "$PGDATA/$name" ]; then echo "$name"; fi
  done
}

# Sets `own`, where they are kept, the same folder in every run. Not in the data directory, where pg_rewind deletes what the new primary
# does not have.
find_own() {
  local data place
  data=$(readlink -f -- "$PGDATA")
  for place in "$(dirname -- "$data")" "$(dirname -- "$passfile")"; do
    own=$place/rejoin-own${data//\//-}
    if [ -w "$place" ]; then
      # In a folder that all can write to, somebody else may have put it there.
      if [ -e "$own" ] && [ ! -O "$own" ]; then fail "$own belongs to somebody else" "look what it is, and remove it"; fi
      return
    fi
  done
  fail "neither $(dirname -- "$data") nor $(dirname -- "$passfile") can be written to, and this machine's configuration must be kept there meanwhile" \
    "let REPLICATION_PASSFILE name a file in a folder of the user that runs this"
}

# Whole or not there at all: it comes and goes by one rename. With it, what this server was as a primary (pg_controldata).
keep_own() {
  local name
  if [ -e "$own" ] && ! was_started_since; then
    say "this machine's configuration is taken from $own, where a run that was interrupted has kept it"
    return
  fi
  forget_own
  mkdir -m 0700 -- "$own.new" "$own.new/files"
  while read -r name; do cp -a -- "$PGDATA/$name" "$own.new/files/"; done < <(own_files)
  LC_ALL=C pg_controldata "$PGDATA" >"$own.new/control" 2>/dev/null || true
  sync -f "$own.new"
  mv -T -- "$own.new" "$own"
  sync "$(dirname -- "$own")"
  say "this machine's configuration is kept in $own until it is put back"
}
# Then what was kept is old: it was put back, and the server has been used since. Every start writes postmaster.opts.
was_started_since() { [ -e "$own/put-back" ] && [ "$PGDATA/postmaster.opts" -nt "$own/put-back" ]; }
put_own_back() {
  local name
  while read -r name; do
    rm -rf -- "${PGDATA:?}/$name"
    cp -a -- "$own/files/$name" "$PGDATA/"
  done < <(ls -A -- "$own/files")
  sync -f "$PGDATA"
  : >"$own/put-back"
}
forget_own() {
  rm -rf -- "$own.new"
  if [ -e "$own" ]; then mv -T -- "$own" "$own.new"; fi
  rm -rf -- "$own.new"
}

# How the stream is encrypted, and the database that slots are synchronised over (17+). Files are named only where this machine has
# them.
stream_options() {
  local option name value
  if [ -n "${REPLICATION_OPTIONS:-}" ]; then printf ' %s' "$REPLICATION_OPTIONS"; return; fi
  if ! value=$(ask_source "select current_setting('primary_conninfo')"); then
    say "how the new primary was encrypted cannot be asked: the stream is encrypted if the new primary offers it. REPLICATION_OPTIONS says how it must be" >&2
    return
  fi
  printf '%s\n' "$value" | { grep -oE "(dbname|sslmode|sslrootcert|sslcert|sslkey|sslcrl|sslnegotiation|ssl_min_protocol_version|gssencmode|channel_binding)=('[^']*'|[^ ]+)" || true; } |
    while read -r option; do
      name=${option%%=*} value=${option#*=}
      value=${value#\'} value=${value%\'}
      case $name in sslrootcert | sslcert | sslkey | sslcrl) [ "$value" = system ] || [ -r "$value" ] || continue ;; esac
      printf ' %s=%s' "$name" "$(conninfo_value "$value")"
    done
}

# What a standby must have at least as much of as its primary, or it stops replaying (manual, "Administrator's Overview" of hot
# standby): where this machine, as it was when it was a primary, had less, or cannot say what it had.
capacity() {
  local name value had
  while IFS='|' read -r name value; do
    had=$(control_value "$name setting")
    if [ -z "$had" ] || [ "$had" -lt "$value" ]; then printf "%s = %s\n" "$name" "$value"; fi
  done < <(ask_source "select case name when 'max_prepared_transactions' then 'max_prepared_xacts' when 'max_locks_per_transaction' then 'max_locks_per_xact' else name end, setting from pg_settings
    where name in ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')") |
    sed 's/^max_prepared_xacts/max_prepared_transactions/; s/^max_locks_per_xact/max_locks_per_transaction/'
}

# become_standby DIRECTORY: its postgresql.auto.conf may be the new primary's, which holds where that one streamed from, or
# this machine's own, which holds what is left of the fence.
become_standby() {
  local conninfo file=$1/postgresql.auto.conf
  conninfo="host=$(conninfo_value "$primary_host") port=$primary_port user=$(conninfo_value "$replication_user")"
  conninfo+=" passfile=$(conninfo_value "$passfile")$(stream_options)"
  if [ -e "$file" ]; then
    sed -i -E "/^(primary_conninfo|primary_slot_name)[ =]/d; /^default_transaction_read_only = 'on'/d; /^synchronous_standby_names = '.*pgrm_/d" "$file"
  fi
  printf "primary_conninfo = %s\nprimary_slot_name = %s\n" "$(conf_string "$conninfo")" "$(conf_string "$slot")" >>"$file"
  : >"$1/standby.signal"
  sync -f "$1"
}

control_value() { sed -n "s/^$1: *//p" <<<"$control"; }
lsn_bytes() { printf '%d' $(((16#${1%/*} << 32) + 16#${1#*/})); }
ask_source() { "$psql" -XqAt -v ON_ERROR_STOP=1 -d "$source" -c "set role none" -c "set search_path = pg_catalog, pg_temp" -c "$1"; }

# is_whole FORK LAST: whether the WAL here goes on from FORK to its end. LAST is the last record that was read from there. Without
# one it ends at FORK, when that was the end of an orderly shutdown, or when the segment is here.
is_whole() {
  local checkpoint fork size
  checkpoint=$(lsn_bytes "$(control_value "Latest checkpoint location")")
  if [ -n "$2" ]; then [ "$(lsn_bytes "$2")" -ge "$checkpoint" ]; return; fi
  fork=$(lsn_bytes "$1")
  size=$(control_value "Bytes per WAL segment")
  [ "$checkpoint" -lt "$fork" ] || return 1
  [ "$(control_value "Database cluster state")" != "shut down" ] || return 0
  [ -e "$PGDATA/pg_wal/$(printf '%08X%08X%08X' "$old" $((fork >> 32)) $(((fork & 0xFFFFFFFF) / size)))" ]
}

# The WAL behind the place where the new primary's timeline begins (pg_waldump). A catalog that only the agent's own orders,
# ANALYZE and autovacuum write to (pg_database, pg_statistic with its TOAST table, pg_statistic_ext_data with its) is no loss.
diverged() {
  local tool control old new fork records last
  # A new copy was interrupted: what was here is gone already.
  [ -e "$PGDATA/PG_VERSION" ] || return 0
  for tool in pg_controldata pg_waldump; do
    have "$tool" || fail "what would be lost cannot be told: there is no $tool in PATH" "install the server's own tools"
  done
  control=$(LC_ALL=C pg_controldata "$PGDATA")
  old=$(control_value "Latest checkpoint's TimeLineID")
  new=$(ask_source "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int")
  [ "$old" != "$new" ] || return 0
  fork=$(ask_source "select convert_from(pg_read_binary_file('pg_wal/' || lpad(upper(to_hex($new)), 8, '0') || '.history'), 'UTF8')" |
    awk -v old="$old" '$1 == old { print $2; exit }')
  [ -n "$fork" ] || fail "timeline $new of the new primary does not come from timeline $old" "this server needs a new copy"
  records=$(mktemp)
  # It ends with an error in any case: where the WAL ends.
  pg_waldump --path "$PGDATA/pg_wal" --timeline "$old" --start "$fork" >"$records" 2>/dev/null || true
  last=$(sed -n 's/.* lsn: \([0-9A-F/]*\),.*/\1/p' "$records" | tail -n 1)
  if ! is_whole "$fork" "$last"; then
    rm -f -- "$records"
    fail "what would be lost cannot be told: WAL behind $fork is missing" "keep this server, or give up what it has written"
  fi
  awk '
    function value(pattern, skip) { return match($0, pattern) ? substr($0, RSTART + skip, RLENGTH - skip) : "" }
    { tx = value("tx: +[0-9]+", 3) + 0; text = substr($0, index($0, "desc: ") + 6); split(text, word, " ") }
    $2 ~ /^Heap2?$/ && word[1] ~ /^(INSERT|MULTI_INSERT|UPDATE|HOT_UPDATE|DELETE|TRUNCATE)/ {
      rel = value("rel [0-9]+/[0-9]+/[0-9]+", 4)
      split(rel, part, "/")
      if (part[3] ~ /^(1262|2619|2840|3429|3430)$/) next
      sub(/[+].*/, "", word[1]); sub(/^HOT_/, "", word[1])
      count = 1
      if (sub(/^MULTI_/, "", word[1])) count = value("ntuples: [0-9]+", 9) + value("[0-9]+ tuples", 0)
      changes[tx, (rel == "" ? "several relations" : rel) " " word[1]] += count
    }
    $2 == "Transaction" && word[1] ~ /^(COMMIT|PREPARE)/ {
      done[tx]
      if (word[1] == "COMMIT_PREPARED") done[word[2] + 0]
      subs = value("subxacts:( [0-9]+)+", 9)
      n = split(subs, child, " ")
      for (i = 1; i <= n; i++) done[child[i] + 0]
    }
    END {
      for (key in changes) { split(key, k, SUBSEP); if (k[1] in done) sum[k[2]] += changes[key] }
      for (what in sum) print what, sum[what]
    }' "$records" | sort
  rm -f -- "$records"
}

[ -d "$PGDATA" ] || fail "$PGDATA is not there" "set PGDATA to the former primary's data directory"
ways
if [ "${1:-}" = --check ]; then
  find_own
  unreadable=$(find "$PGDATA" ! -readable -print -quit 2>/dev/null)
  [ -z "$unreadable" ] || fail "$unreadable cannot be read: pg_rewind would fail" "chown it to the owner of $PGDATA"
  say "could use ${how%, }"
  exit 0
fi
if [ "${1:-}" = --diverged ]; then
  diverged
  exit 0
fi
stopped || fail "the server in $PGDATA runs" "stop it first"
find_own
keep_own
control=$(<"$own/control")
more_capacity=$(capacity || true)
[ -z "$more_capacity" ] || say "a standby of this primary needs ${more_capacity//$'\n'/, }"
# Without PG_VERSION, a new copy was interrupted: there is nothing to rewind.
if [ -e "$PGDATA/PG_VERSION" ] && rewind; then become_standby "$PGDATA"; else new_copy; fi
put_own_back
become_standby "$PGDATA"
if [ -n "$more_capacity" ]; then printf '%s\n' "$more_capacity" >>"$PGDATA/postgresql.auto.conf"; fi
sync -f "$PGDATA"
forget_own
say "$PGDATA is a standby of $primary_host:$primary_port"
