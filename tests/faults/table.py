"""The table of faults. A row's `act` brings its fault about and returns what heals it, or None where it heals by itself.

`c` of every act is the round: c.pair, c.old and c.new (nodes), c.agent (its process), c.random.
"""

import collections
import shutil
import signal
import threading
import time

import pair
import pq

# needs: what the machine must have. excuses: what this fault itself does to the pair, and is not the agent's.
Fault = collections.namedtuple("Fault", "name kind what act needs steps excuses", defaults=((), (), ()))


def machine_lacks(need):
    """Why not, or None."""
    if need == "root" and not pair.IS_ROOT:
        return "needs root, to mount a small file system"
    if need == "compiler" and not shutil.which("gcc"):
        return "needs gcc, to build misfortune.c"
    return None


def node_of(c, which):
    return c.old if which == "old" else c.new


# --- Processes


def kill_agent(c):
    pair.kill(c.agent.pid, signal.SIGKILL)


def guards(c):
    return [pid for pid in c.pair.agents() if pid != c.agent.pid]


def kill_guard(c):
    for pid in guards(c):
        pair.kill(pid, signal.SIGKILL)


def kill_both(c):
    for pid in c.pair.agents():
        pair.kill(pid, signal.SIGKILL)


def interrupt_agent(c):
    pair.kill(c.agent.pid, c.random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))


def freeze(pids):
    def act(c):
        stopped = pids(c)
        for pid in stopped:
            pair.kill(pid, signal.SIGSTOP)
        return lambda: [pair.kill(pid, signal.SIGCONT) for pid in stopped]

    return act


def whole_server(which):
    def pids(c):
        postmaster = c.pair.server_pid(node_of(c, which))
        return [postmaster, *pair.children(postmaster)] if postmaster else []

    return pids


def postmaster(which):
    def pids(c):
        found = c.pair.server_pid(node_of(c, which))
        return [found] if found else []

    return pids


def kill_server(which):
    """As a loss of power would: its backends with it."""

    def act(c):
        for pid in whole_server(which)(c):
            pair.kill(pid, signal.SIGKILL)
        return lambda: c.pair.start_server(node_of(c, which))

    return act


def kill_postmaster(which):
    """Its backends live on for a moment."""

    def act(c):
        for pid in postmaster(which)(c):
            pair.kill(pid, signal.SIGKILL)
        return lambda: c.pair.start_server(node_of(c, which))

    return act


def kill_child(which):
    """The server ends all sessions and recovers by itself, as after an OOM kill."""

    def act(c):
        found = c.pair.server_pid(node_of(c, which))
        for pid in c.random.sample(pair.children(found), 1) if found and pair.children(found) else []:
            pair.kill(pid, signal.SIGKILL)
        return lambda: c.pair.start_server(node_of(c, which))

    return act


def stop_server(which, number):
    def act(c):
        for pid in postmaster(which)(c):
            pair.kill(pid, number)
        node = node_of(c, which)

        def heal():
            c.pair.until(30, f"{node} is down", lambda: c.pair.server_pid(node) is None)
            c.pair.start_server(node)

        return heal

    return act


def signal_program(name, number):
    def act(c):
        pid = c.pair.lab_program_pid(name)
        if pid:
            pair.kill(pid, number)
        return (lambda: pair.kill(pid, signal.SIGCONT)) if pid and number == signal.SIGSTOP else None

    return act


# --- Network: three parties, two servers, and for each link every way in which it can be bad


def poison(party, which, kind, stream, **attributes):
    def act(c):
        node = node_of(c, which)
        chosen = {key: value(c.random) if callable(value) else value for key, value in attributes.items()}
        streams = ("upstream", "downstream") if stream == "both" else (stream,)
        for one in streams:
            c.pair.network.poison(party, node, kind, one, **chosen)
        return c.pair.network.heal

    return act


def cut(party, which):
    def act(c):
        c.pair.network.cut(party, node_of(c, which))
        return c.pair.network.heal

    return act


LINKS = (("agent", "old"), ("agent", "new"), ("clients", "old"), ("clients", "new"), ("stream", "old"))
TOXICS = (
    ("black hole", "nothing gets through, either way", ("timeout", "both"), {"timeout": 0}),
    ("black hole there", "requests are lost", ("timeout", "upstream"), {"timeout": 0}),
    ("black hole back", "answers are lost", ("timeout", "downstream"), {"timeout": 0}),
    ("reset", "connections are reset", ("reset_peer", "downstream"), {"timeout": 0}),
    ("delay", "1 to 500 ms each way", ("latency", "both"), {"latency": lambda random: random.randint(1, 500)}),
    ("bandwidth", "1 to 50 kB/s", ("bandwidth", "both"), {"rate": lambda random: random.randint(1, 50)}),
)


def network_faults():
    for party, which in LINKS:
        link = f"{party}-{which}"
        what = f"between the {party} and the {which} server" if party != "stream" else "between the two servers"
        yield Fault(f"{link}: cut", "network", f"every connection {what} is closed, and none opened", cut(party, which))
        for name, effect, (kind, stream), attributes in TOXICS:
            yield Fault(f"{link}: {name}", "network", f"{effect}, {what}", poison(party, which, kind, stream, **attributes))


# --- Disks


def fill(place):
    def act(c):
        ballast = place(c) / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:  # no space for a block of this size
                    continue
        return lambda: ballast.unlink(missing_ok=True)

    return act


def data_file(which, name, text):
    """A file of misfortune.c, or one that is in the server's way."""

    def act(c):
        file = c.pair.directory(node_of(c, which)) / name
        file.write_text(text(c.random) if callable(text) else text)
        file.chmod(0o644)
        return lambda: file.unlink(missing_ok=True)

    return act


def fsync_fails(which):
    def act(c):
        node = node_of(c, which)
        heal_file = data_file(which, "misfortune.fsync", "")(c)

        def heal():
            heal_file()
            c.pair.start_server(node)

        return heal

    return act


def configuration_cannot_be_written(which):
    """ALTER SYSTEM writes postgresql.auto.conf.tmp first: a folder of that name is in its way."""

    def act(c):
        folder = c.pair.directory(node_of(c, which)) / "postgresql.auto.conf.tmp"
        try:
            folder.mkdir()
        except FileExistsError:
            return None
        return folder.rmdir

    return act


def configuration_broken(which):
    def act(c):
        file = c.pair.server_home / "server" / f"{node_of(c, which)}.conf"
        file.write_text(file.read_text() + "this is no setting\n")
        return lambda: file.write_text(file.read_text().replace("this is no setting\n", ""))

    return act


# --- Strangers and people with SQL


def order(which, statement, database="postgres"):
    def act(c):
        c.pair.superuser(node_of(c, which), statement, database, patience=20)

    return act


def hold(which, statement, database="postgres"):
    """A session that keeps a transaction open until it is healed, or ended."""

    def act(c):
        session = pq.Session(c.pair.conninfo(node_of(c, which), "postgres", database))
        session.run("begin", 3)
        session.run(statement, 3)
        return session.close

    return act


def connections_reached(c):
    sessions = []
    for _ in range(220):
        session = pq.Session(c.pair.conninfo(c.old, "pgrm_app", "testdb"))
        if session.open():
            break
        sessions.append(session)
    return lambda: [session.close() for session in sessions]


def prepared_transaction(c):
    begun = f"begin; insert into tried default values; prepare transaction 'campaign_{time.time_ns()}'"
    c.pair.application(c.old, begun)

    def heal():
        for node in pair.NODES:
            for (name,) in c.pair.superuser(node, "select gid from pg_prepared_xacts").rows:
                c.pair.superuser(node, f"rollback prepared '{name}'", "testdb")

    return heal


SWALLOWS = """do $$ declare until timestamptz := clock_timestamp() + interval '{seconds} s'; begin
  while clock_timestamp() < until loop
    begin perform pg_sleep(0.2); exception when query_canceled then null; end;
  end loop; end $$"""


def swallows_cancel(c):
    seconds = c.random.randint(1, 8)

    def run():
        c.pair.application(c.old, SWALLOWS.format(seconds=seconds), patience=20)

    threading.Thread(target=run, daemon=True).start()


def reconnect_in_a_loop(c):
    stop = threading.Event()

    def run():
        while not stop.is_set():
            for node in pair.NODES:
                c.pair.application(node, "select 1", patience=1)

    for _ in range(2):
        threading.Thread(target=run, daemon=True).start()
    return stop.set


def pause_replay(c):
    c.pair.superuser(c.new, "select pg_wal_replay_pause()")
    return lambda: c.pair.superuser(c.new, "select pg_wal_replay_resume() where pg_is_in_recovery()")


def create_and_drop_database(c):
    c.pair.superuser(c.old, "create database strangers", patience=20)
    return lambda: [c.pair.superuser(node, "drop database if exists strangers", patience=20) for node in pair.NODES]


def second_agent(c):
    folder = c.pair.home / "second"
    shutil.rmtree(folder, ignore_errors=True)
    back = ["--switch-back"] if c.old == "replica" else []
    log = c.directory / "second-agent.log"
    c.pair.start_agent(log, "cutover", "--yes", "--no-guard", *back, env={"STATE_DIR": str(folder)})


AGENTS_SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgrm_agent'"
LOCKS = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
APPLICATIONS = "lock table users, orders, order_items, witness_writes, prober_writes in access exclusive mode"
FENCED = ("begin fence", "begin promote")
OPENED = "alter database testdb allow_connections true"


# --- Clocks


def wrong_by(random):
    return str(random.choice((-1, 1)) * random.choice((2, 90, 3600, 86400)))


def agents_clock(c):
    file = c.pair.home / "agent" / "misfortune.clock"
    file.write_text(wrong_by(c.random))
    return lambda: file.unlink(missing_ok=True)


def of_both(name, kind, what, make, **more):
    for which in ("old", "new"):
        yield Fault(f"{which} {name}", kind, what, make(which), **more)


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
    *of_both("postmaster frozen", "process", "SIGSTOP to the postmaster alone, then SIGCONT", lambda which: freeze(postmaster(which))),
    *of_both("server restarted", "process", "fast shutdown, then start", lambda which: stop_server(which, signal.SIGINT)),
    *of_both("server stopped at once", "process", "immediate shutdown, then start", lambda which: stop_server(which, signal.SIGQUIT)),
    Fault("exporter killed", "process", "SIGKILL", signal_program("exporter", signal.SIGKILL)),
    Fault("exporter frozen", "process", "SIGSTOP, then SIGCONT", signal_program("exporter", signal.SIGSTOP)),
    Fault("loadgen frozen", "process", "SIGSTOP, then SIGCONT", signal_program("loadgen", signal.SIGSTOP)),
    *network_faults(),
    Fault("disk full, STATE_DIR", "disk", "no byte is free", fill(lambda c: c.pair.state), needs=("root",)),
    Fault("disk full, old pg_wal", "disk", "no byte is free", fill(lambda c: c.pair.wal(c.old)), needs=("root",)),
    Fault("disk full, new pg_wal", "disk", "no byte is free", fill(lambda c: c.pair.wal(c.new)), needs=("root",)),
    *of_both("server's fsync fails", "disk", "EIO from fsync() and fdatasync()", fsync_fails, needs=("compiler",)),
    *of_both("configuration cannot be written", "disk", "ALTER SYSTEM fails", configuration_cannot_be_written),
    *of_both("configuration broken", "disk", "a line that is no setting", configuration_broken),
    Fault("max_connections reached", "strangers", "sessions of the application's role fill the old server", connections_reached),
    Fault("lock on pg_database", "strangers", "ACCESS EXCLUSIVE", hold("old", "lock table pg_database in access exclusive mode")),
    Fault("lock on pg_authid", "strangers", "ACCESS EXCLUSIVE", hold("old", "lock table pg_authid in access exclusive mode")),
    Fault("lock on pg_db_role_setting", "strangers", "ACCESS EXCLUSIVE", hold("old", "lock table pg_db_role_setting in access exclusive mode")),
    Fault("lock on a row of pg_database", "strangers", "as ALTER DATABASE takes it", hold("old", "alter database testdb connection limit -1")),
    Fault("lock on the application's tables", "strangers", "ACCESS EXCLUSIVE", hold("old", APPLICATIONS, "testdb")),
    Fault("prepared transaction", "strangers", "one appears", prepared_transaction),
    Fault("loop that swallows cancel", "strangers", "DO block, 1 to 8 s", swallows_cancel),
    Fault("sessions that reconnect", "strangers", "two clients, without a pause", reconnect_in_a_loop),
    Fault("person reloads the old server", "people", "pg_reload_conf()", order("old", "select pg_reload_conf()")),
    Fault("person reloads the new server", "people", "pg_reload_conf()", order("new", "select pg_reload_conf()")),
    Fault("person ends the agent's sessions on the old server", "people", "pg_terminate_backend()", order("old", AGENTS_SESSIONS)),
    Fault("person ends the agent's sessions on the new server", "people", "pg_terminate_backend()", order("new", AGENTS_SESSIONS)),
    Fault("person ends the session with the lock", "people", "pg_terminate_backend()", order("old", LOCKS)),
    Fault("person pauses replay", "people", "pg_wal_replay_pause()", pause_replay),
    Fault("person creates a database", "people", "and drops it afterwards", create_and_drop_database),
    Fault("person changes to the next segment", "people", "pg_switch_wal()", order("old", "select pg_switch_wal()")),
    Fault("second agent", "people", "a cutover with a STATE_DIR of its own", second_agent),
    Fault("person promotes behind the fence", "people", "pg_promote() on the replica", order("new", "select pg_promote(false)"),
          steps=FENCED, excuses=("person",)),
    Fault("person opens the gate", "people", "ALTER DATABASE … ALLOW_CONNECTIONS true on the old server", order("old", OPENED),
          steps=FENCED),
    *of_both("server's clock jumps", "clock", "2 s to a day, either way", lambda which: data_file(which, "misfortune.clock", wrong_by), needs=("compiler",)),
    Fault("agent's clock jumps", "clock", "2 s to a day, either way", agents_clock, needs=("compiler",)),
)

# What the table has not, and why.
NOT_HERE = (
    ("swap storm, cgroup OOM", "the cgroup file system is not writable in a container; a killed process is the same to its peers"),
    ("dm-error under a data directory", "needs the device mapper; misfortune.c lets fsync fail instead"),
    ("200 GB of WAL positions, 2,000 databases, 5,000 sessions", "a size, not a fault: minutes for each pair"),
    ("power loss of the agent's host", "the journal cut at every record is tests/scenario and tests/e2e/kill_matrix_test"),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def describe():
    for fault in FAULTS:
        lacks = [why for why in map(machine_lacks, fault.needs) if why]
        yield f"{fault.name:50} {fault.kind:10} {fault.what}" + (f"  [not on this machine: {lacks[0]}]" if lacks else "")
    for what, why in NOT_HERE:
        yield f"{what:50} {'not here':10} {why}"
