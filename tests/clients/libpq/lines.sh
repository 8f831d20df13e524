# Sourced by psql and pgbench: settings and the ledger's lines.
# shellcheck shell=bash
hosts=$1 target=$2 ledger=$3
workers=8
stopped=''
trap 'stopped=yes' TERM INT

# conninfo HOSTS: "host:port,host:port" in libpq's own form.
conninfo() {
  local pair host='' port=''
  for pair in ${1//,/ }; do host+=,${pair%:*} port+=,${pair#*:}; done
  printf 'host=%s port=%s' "${host:1}" "${port:1}"
  if [ "$target" != pooler ]; then printf ' target_session_attrs=%s' "$target"; fi
}
if [ "$target" = pooler ]; then told=pooler:6432; else told=old:5432,new:5432; fi

json() { local text=${1//\\/\\\\}; text=${text//\"/\\\"}; printf '"%s"' "${text//[[:cntrl:]]/ }"; }
begin() { printf '{"driver": "%s", "settings": "%s"}\n' "$1" "$2" >>"$ledger"; }
# line AT WORKER ID [SENT SQLSTATE ERROR]
line() {
  local failure=''
  if [ $# -gt 3 ]; then failure=", \"sent\": $4, \"sqlstate\": \"$5\", \"error\": $(json "$6")"; fi
  printf '{"at": %s, "worker": %s, "id": "%s"%s}\n' "$1" "$2" "$3" "$failure" >>"$ledger"
}
