# Sourced after e2e/expect.sh: the collection, built and installed as a person does it, and playbooks run from it.
# shellcheck shell=bash disable=SC2154  # top, LAB_HOME, output and programs are of others

command -v ansible-playbook >/dev/null || { echo "${0##*/}: skipped, ansible-playbook is not there: ./lab setup test"; trap - EXIT; rm -rf -- "$LAB_HOME"; exit 77; }
programs=${PGRM_BIN:-$top/build/release/bin}
inventory=$LAB_HOME/inventory.yml
export ANSIBLE_COLLECTIONS_PATH=$LAB_HOME/collections ANSIBLE_COLLECTIONS_PATHS=$LAB_HOME/collections ANSIBLE_HOME=$LAB_HOME/ansible
export ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1 ANSIBLE_RETRY_FILES_ENABLED=0 ANSIBLE_CONFIG=$LAB_HOME/ansible.cfg
printf '[defaults]\n' >"$ANSIBLE_CONFIG"  # whatever this machine's says

install_collection() {
  (cd "$LAB_HOME" && ansible-galaxy collection build --force "$top/ansible" && ansible-galaxy collection install --offline replica_migration-pgrm-*.tar.gz)
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
