"""The table of faults. A row's `act` brings its fault about and returns what heals it, or None where it heals by itself.

`c` of every act is the round: c.pair, c.old and c.new (nodes), c.agent (its process), c.random.
"""

import collections
import shutil
import signal

import pair
from disks import agents_clock, configuration_broken, configuration_cannot_be_written, data_file, fill, fsync_fails, wrong_by
from links import LINKS, TOXICS, cut, poison
from memory import hierarchy, runs_out
from processes import (
    freeze, guards, interrupt_agent, kill_agent, kill_both, kill_child, kill_guard, kill_postmaster, kill_server, postmaster,
    signal_program, stop_server, whole_server,
)
from strangers import (
    connections_reached, create_and_drop_database, hold, order, pause_replay, prepared_transaction, reconnect_in_a_loop,
    second_agent, swallows_cancel,
)

# needs: what the machine must have. steps: the only moments. excuses: what is the fault's own doing, and not the agent's.
Fault = collections.namedtuple("Fault", "name kind what act needs steps excuses", defaults=((), (), ()))


def machine_lacks(need):
    """Why not, or None."""
    if need == "root" and not pair.IS_ROOT:
        return "needs root, to mount a small file system"
    if need == "compiler" and not shutil.which("gcc"):
        return "needs gcc, to build misfortune.c"
    if need == "memory group" and not (pair.IS_ROOT and hierarchy()):
        return "needs root and control groups that limit memory"
    return None


def network_faults():
    for party, which in LINKS:
        link = f"{party}-{which}"
        what = f"between the {party} and the {which} server" if party != "stream" else "between the two servers"
        yield Fault(f"{link}: cut", "network", f"every connection {what} is closed, and none opened", cut(party, which))
        for name, effect, (kind, stream), attributes in TOXICS:
            act = poison(party, which, kind, stream, **attributes)
            yield Fault(f"{link}: {name}", "network", f"{effect}, {what}", act)


def of_both(name, kind, what, make, **more):
    for which in ("old", "new"):
        yield Fault(f"{which} {name}", kind, what, make(which), **more)


def lock(table):
    return hold("old", f"lock table {table} in access exclusive mode")


APPLICATIONS = "lock table users, orders, order_items, witness_writes, prober_writes in access exclusive mode"
CLOSING = "alter database testdb connection limit -1"
ENDS_AGENT = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgrm_agent'"
ENDS_LOCK = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
OPENS = "alter database testdb allow_connections true"
FENCED = ("begin fence", "begin promote")
PERSON = "person ends the agent's sessions on the"

FAULTS = (
    Fault("agent killed", "process", "SIGKILL; its guard lives", kill_agent),
    Fault("agent frozen", "process", "SIGSTOP, then SIGCONT", freeze(lambda c: [c.agent.pid])),
    Fault("agent told to end", "process", "SIGINT, SIGTERM or SIGHUP", interrupt_agent),
    Fault("guard killed", "process", "SIGKILL; the agent lives", kill_guard),
    Fault("guard frozen", "process", "SIGSTOP, then SIGCONT", freeze(guards)),
    Fault("agent and guard killed", "process", "SIGKILL to both", kill_both),
    *of_both("server killed", "process", "SIGKILL to the postmaster and every backend", kill_server),
    *of_both("postmaster killed", "process", "SIGKILL to the postmaster alone", kill_postmaster),
    *of_both("backend killed", "process", "SIGKILL to one process of the server, as out of memory does", kill_child),
    *of_both("server frozen", "process", "SIGSTOP to all of it, then SIGCONT", lambda which: freeze(whole_server(which))),
    *of_both("postmaster frozen", "process", "SIGSTOP to it alone, then SIGCONT", lambda which: freeze(postmaster(which))),
    *of_both("server restarted", "process", "fast shutdown", lambda which: stop_server(which, signal.SIGINT)),
    *of_both("server stopped at once", "process", "immediate shutdown", lambda which: stop_server(which, signal.SIGQUIT)),
    Fault("agent out of memory", "process", "the kernel kills in a group of 1 MB", runs_out(lambda c: c.pair.agents()),
          ("memory group",)),
    *of_both("server out of memory", "process", "the kernel kills in a group of 1 MB",
             lambda which: runs_out(whole_server(which), which), needs=("memory group",)),
    Fault("exporter killed", "process", "SIGKILL", signal_program("exporter", signal.SIGKILL)),
    Fault("exporter frozen", "process", "SIGSTOP, then SIGCONT", signal_program("exporter", signal.SIGSTOP)),
    Fault("loadgen frozen", "process", "SIGSTOP, then SIGCONT", signal_program("loadgen", signal.SIGSTOP)),
    *network_faults(),
    Fault("disk full, STATE_DIR", "disk", "no byte is free", fill(lambda c: c.pair.state), ("root",)),
    Fault("disk full, old pg_wal", "disk", "no byte is free", fill(lambda c: c.pair.wal(c.old)), ("root",)),
    Fault("disk full, new pg_wal", "disk", "no byte is free", fill(lambda c: c.pair.wal(c.new)), ("root",)),
    *of_both("server's fsync fails", "disk", "EIO from fsync() and fdatasync()", fsync_fails, needs=("compiler",)),
    *of_both("configuration cannot be written", "disk", "ALTER SYSTEM fails", configuration_cannot_be_written),
    *of_both("configuration broken", "disk", "a line that is no setting", configuration_broken),
    Fault("max_connections reached", "strangers", "by the application's role, on the old server", connections_reached),
    Fault("lock on pg_database", "strangers", "ACCESS EXCLUSIVE", lock("pg_database")),
    Fault("lock on pg_authid", "strangers", "ACCESS EXCLUSIVE", lock("pg_authid")),
    Fault("lock on pg_db_role_setting", "strangers", "ACCESS EXCLUSIVE", lock("pg_db_role_setting")),
    Fault("lock on a row of pg_database", "strangers", "as ALTER DATABASE takes it", hold("old", CLOSING)),
    Fault("lock on the application's tables", "strangers", "ACCESS EXCLUSIVE", hold("old", APPLICATIONS, "testdb")),
    Fault("prepared transaction", "strangers", "one appears", prepared_transaction),
    Fault("loop that swallows cancel", "strangers", "DO block, 1 to 8 s", swallows_cancel),
    Fault("sessions that reconnect", "strangers", "two clients, without a pause", reconnect_in_a_loop),
    Fault("person reloads the old server", "people", "pg_reload_conf()", order("old", "select pg_reload_conf()")),
    Fault("person reloads the new server", "people", "pg_reload_conf()", order("new", "select pg_reload_conf()")),
    Fault(f"{PERSON} old server", "people", "pg_terminate_backend()", order("old", ENDS_AGENT)),
    Fault(f"{PERSON} new server", "people", "pg_terminate_backend()", order("new", ENDS_AGENT)),
    Fault("person ends the session with the lock", "people", "pg_terminate_backend()", order("old", ENDS_LOCK)),
    Fault("person pauses replay", "people", "pg_wal_replay_pause()", pause_replay),
    Fault("person creates a database", "people", "and drops it afterwards", create_and_drop_database),
    Fault("person changes to the next segment", "people", "pg_switch_wal()", order("old", "select pg_switch_wal()")),
    Fault("second agent", "people", "a cutover with a STATE_DIR of its own", second_agent),
    Fault("person promotes behind the fence", "people", "pg_promote() on the replica",
          order("new", "select pg_promote(false)"), steps=FENCED, excuses=("person",)),
    Fault("person opens the gate", "people", "ALTER DATABASE … ALLOW_CONNECTIONS true on the old server",
          order("old", OPENS), steps=FENCED),
    *of_both("server's clock jumps", "clock", "2 s to a day, either way",
             lambda which: data_file(which, "misfortune.clock", wrong_by), needs=("compiler",)),
    Fault("agent's clock jumps", "clock", "2 s to a day, either way", agents_clock, needs=("compiler",)),
)
BY_NAME = {fault.name: fault for fault in FAULTS}

# What the table has not, and why.
NOT_HERE = (
    ("swap storm", "needs swap; for its peers a server that swaps is a slow or frozen one"),
    ("dm-error under a data directory", "needs the device mapper; misfortune.c lets fsync fail instead"),
    ("5,000 sessions, 200 GB of WAL positions, large segments", "a size, not a fault: tests/e2e/sizes_test"),
    ("2,000 databases", "a size, not a fault: tests/e2e/many_files_test"),
    ("power loss of the agent's host", "the journal cut at every record is tests/scenario and tests/e2e/kill_matrix_test"),
)


def describe():
    for fault in FAULTS:
        lacks = [why for why in map(machine_lacks, fault.needs) if why]
        not_here = f"  [not on this machine: {lacks[0]}]" if lacks else ""
        yield f"{fault.name:50} {fault.kind:10} {fault.what}{not_here}"
    for what, why in NOT_HERE:
        yield f"{what:57} {'not here':10} {why}"
