# Sourced after e2e/expect.sh: the collection, built and installed as a person does it, and playbooks run from it.
# shellcheck shell=bash disable=SC2154  # top, LAB_HOME, output and programs are of others

if ! command -v ansible-playbook >/dev/null; then
  echo "${0##*/}: skipped, there is no ansible-playbook: ./lab setup test"
  trap - EXIT
  rm -rf -- "$LAB_HOME"
  exit 77
fi
programs=${PGRM_BIN:-$top/build/release/bin}
inventory=$LAB_HOME/inventory.yml
# Nothing of this machine's settings, and nothing left on it.
export ANSIBLE_CONFIG=$LAB_HOME/ansible.cfg ANSIBLE_HOME=$LAB_HOME/ansible ANSIBLE_REMOTE_TMP=$LAB_HOME/remote
unset ANSIBLE_COLLECTIONS_PATHS
export ANSIBLE_COLLECTIONS_PATH=$LAB_HOME/collections ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1
printf '[defaults]\n' >"$ANSIBLE_CONFIG"

install_collection() {
  (cd "$LAB_HOME" && ansible-galaxy collection build --force "$top/ansible" &&
    ansible-galaxy collection install --offline replica_migration-pgrm-*.tar.gz)
}

# play NAME [ARG]...: a playbook of the collection, with reports in $LAB_HOME/reports.
play() {
  local name=$1
  shift
  (cd "$LAB_HOME" && ansible-playbook -i "$inventory" "replica_migration.pgrm.$name" "$@")
}

# Of the last play: the hosts of its recap with a change, and those that failed.
changed_hosts() { sed -n '/^PLAY RECAP/,$ { s/^\([^ ]*\) .* changed=[1-9].*/\1/p }' "$output" | sort | xargs; }
failed_hosts() { sed -n '/^PLAY RECAP/,$ { s/^\([^ ]*\) .* failed=[1-9].*/\1/p }' "$output" | sort | xargs; }
