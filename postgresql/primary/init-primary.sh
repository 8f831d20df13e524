#!/usr/bin/env bash
# Creates roles, database and replication slot on the primary (database.sql, ../roles.sql). Harmless to run again.
#
# Run by the official image from /docker-entrypoint-initdb.d, and by `lab` against its own server. Reads:
#   POSTGRES_USER, POSTGRES_DB            superuser (postgres) and the application's database (testdb)
#   REPLICATION_USER, REPLICATION_SLOT    replicator, replica_slot
#   REPLICATION_PASSWORD, MONITOR_PASSWORD, APP_PASSWORD, AGENT_PASSWORD    or the same with _FILE appended
#   SQL_DIR                               where roles.sql and database.sql lie, if neither where they lie in the source tree
#                                         nor in /etc/postgresql
#   PGHOST, PGPORT, PGPASSWORD, …         libpq's own, for the superuser's connection
set -euo pipefail

fail() { printf 'init-primary: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }

# The value of $1, or the content of the file that $1_FILE names.
secret() {
  local file_variable=$1_FILE
  local value=${!1:-} file=${!file_variable:-}
  if [ -z "$value" ] && [ -n "$file" ]; then
    [ -r "$file" ] || fail "$file_variable=$file cannot be read" "mount the secret, or set $1"
    value=$(<"$file")
  fi
  [ -n "$value" ] || fail "$1 is not set" "set $1, or $file_variable to a file that holds it"
  printf '%s' "$value"
}

# A psql variable, set by standard input and never by an argument: arguments are visible to every user of the machine.
psql_variable() {
  local name=$1 value=$2
  value=${value//\\/\\\\}
  value=${value//\'/\'\'}
  value=${value//$'\n'/\\n}
  printf "\\set %s '%s'\n" "$name" "$value"
}

# find_sql NAME FOLDER: the file NAME, from FOLDER unless it lies elsewhere. A container has this script alone in
# /docker-entrypoint-initdb.d, where everything is run, and the whole folder in /etc/postgresql.
find_sql() {
  local candidate
  for candidate in "${SQL_DIR:+$SQL_DIR/$1}" "$2/$1" /etc/postgresql/{,primary/}"$1"; do
    if [ -n "$candidate" ] && [ -r "$candidate" ]; then printf '%s' "$candidate"; return; fi
  done
  fail "$1 not found" "set SQL_DIR to where it lies"
}

superuser=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-testdb}
[ "$database" != postgres ] ||
  fail "POSTGRES_DB is postgres, observed; the application needs a database of its own" \
    "set POSTGRES_DB=testdb: a cutover closes that database while the agent sits in postgres"

# Read everything before the server is touched: `set -e` does not see a failure inside an argument.
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
roles_sql=$(find_sql roles.sql "$here/..")
database_sql=$(find_sql database.sql "$here")
replication_password=$(secret REPLICATION_PASSWORD)
monitor_password=$(secret MONITOR_PASSWORD)
app_password=$(secret APP_PASSWORD)
agent_password=$(secret AGENT_PASSWORD)

{
  psql_variable database "$database"
  psql_variable database_owner pgrm_app
  psql_variable replication_user "${REPLICATION_USER:-replicator}"
  psql_variable replication_slot "${REPLICATION_SLOT:-replica_slot}"
  psql_variable replication_password "$replication_password"
  psql_variable monitor_password "$monitor_password"
  psql_variable app_password "$app_password"
  psql_variable agent_password "$agent_password"
  cat -- "$database_sql" "$roles_sql"
} | psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --username "$superuser" --dbname postgres --file -
