"""A lab pair for the campaign: servers on small file systems, toxiproxy in front of them, and the agent as a person starts it."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import network
import pq

TOP = pathlib.Path(__file__).resolve().parents[2]
NODES = network.NODES
IS_ROOT = os.getuid() == 0
# Of tmpfs: small enough to be filled in a moment, large enough for what a round writes.
STATE_SIZE, WAL_SIZE = 24 << 20, 768 << 20


def other(node):
    return "replica" if node == "primary" else "primary"


def process_state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def alive(pid):
    state = process_state(pid)
    return state is not None and state[0] != "Z"


def children(pid):
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        state = process_state(directory.name)
        if state and int(state[1]) == pid:
            found.append(int(directory.name))
    return found


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Pair:
    def __init__(self, home, programs, pg_bin, preload):
        self.home, self.programs, self.preload = home, programs, preload
        self.data, self.saved, self.state = home / "data", home / "saved", home / "state"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "POSTGRES_"))}
        self.env.update(LAB_HOME=str(home), PGRM_BIN=str(programs), MONITORING_INTERVAL="0.2")
        if pg_bin:
            self.env["PG_BIN"] = pg_bin
        for key in ("PRIMARY_PORT", "REPLICA_PORT", "EXPORTER_PORT", "LOADGEN_PORT"):
            self.env[key] = str(network.free_port())
        program = subprocess.check_output([TOP / "tests/bench/toxiproxy"], text=True).strip()
        home.mkdir(parents=True)
        home.chmod(0o755)  # the servers' user must get in
        self.network = network.Network(program, home / "toxiproxy.log")
        self.mounts = []

    # --- The lab

    def lab(self, *arguments, env=None, check=True):
        with open(self.home / "lab.log", "a+") as log:
            print(">", *arguments, file=log, flush=True)
            # The pair alone is preloaded: what the lab starts beside it has another working directory.
            done = subprocess.run(
                [TOP / "lab", *arguments],
                env=dict(self.env, LD_PRELOAD=str(self.preload or ""), **(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                timeout=300,
            )
        if check and done.returncode:
            raise RuntimeError(f"lab {' '.join(arguments)} failed, see {self.home}/lab.log")
        return done.returncode

    def create(self):
        self.lab("up")
        self.recall()
        self.lab("seed", "--users", "100", "--products", "50", "--orders", "200")
        for node in NODES:
            for setting in ("max_wal_size = '128MB'", "max_prepared_transactions = 5"):
                self.superuser(node, f"alter system set {setting}")
        created = (
            "create table witness_writes (id bigint primary key, writer text, at timestamptz default clock_timestamp())",
            "create table prober_writes (id bigint primary key, who text)",
            "create table tried (id bigint generated always as identity)",
        )
        for statement in created:
            answer = self.application("primary", statement)
            assert answer.kind == pq.ACKNOWLEDGED, answer
        there = "select 1 from tried"
        self.until(60, "the replica has it", lambda: self.application("replica", there).kind == pq.ACKNOWLEDGED)
        self.lab("down")
        self.saved.mkdir()
        for node in NODES:
            self.lab_copy(self.directory(node), self.saved / node)
        self._small_file_systems()
        self._own_node_control()

    def recall(self):
        """What the lab has remembered, lines of KEY=value."""
        remembered = {}
        for line in (self.data / "lab.env").read_text().splitlines():
            key, _, value = line.partition("=")
            remembered[key] = value.strip("'").replace("\\", "")
        self.version, self.psql, self.pgpass = remembered["PG_VERSION"], remembered["PSQL"], remembered["PGPASSFILE"]
        self.secrets = pathlib.Path(remembered["AGENT_PASSWORD_FILE"]).parent
        self.ports = {"primary": int(remembered["PRIMARY_PORT"]), "replica": int(remembered["REPLICA_PORT"])}
        self.exporter, self.server_home = remembered["EXPORTER_PORT"], pathlib.Path(remembered["SERVER_HOME"])
        self.loadgen = remembered.get("LOADGEN_PORT", self.env["LOADGEN_PORT"])
        self.pg_bin = pathlib.Path(remembered["PG_BIN"])
        for node in NODES:
            for party in network.PARTIES:
                self.network.link(party, node, self.ports[node])

    def directory(self, node):
        return (self.data / node).resolve()

    def lab_copy(self, source, target):
        subprocess.run(["cp", "-a", "-T", source, target], check=True)

    def _mount(self, directory, size):
        directory.mkdir(parents=True, exist_ok=True)
        if IS_ROOT:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "campaign", directory], check=True)
            self.mounts.append(directory)

    def _small_file_systems(self):
        self._mount(self.state, STATE_SIZE)
        for node in NODES:
            self._mount(self.wal(node), WAL_SIZE)

    def wal(self, node):
        return self.server_home / f"wal-{node}"

    def _own_node_control(self):
        """The lab's, which knows the servers by the ports that they listen on."""
        self.node_control = self.home / "node-control"
        self.node_control.mkdir()
        cases = " ".join(f"{self.port('agent', node)}) PGRM_NODE_PORT={self.ports[node]} ;;" for node in NODES)
        for verb in ("stop", "diverged", "rewind", "start"):
            file = self.node_control / verb
            file.write_text(
                f"#!/bin/sh\ncase $PGRM_NODE_PORT in {cases} esac\nexport PGRM_NODE_PORT\n"
                f"LD_PRELOAD={self.preload or ''} exec {self.data}/node-control/{verb} \"$@\"\n"
            )
            file.chmod(0o755)

    def fresh(self):
        """The pair as it was before its first cutover."""
        self.lab("down")
        for node in NODES:
            directory = self.directory(node)
            for entry in list(directory.iterdir()):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            self.lab_copy(self.saved / node, directory)
            if IS_ROOT:
                self._move_wal(node, directory)
        for entry in list(self.state.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (self.data / "ledger").unlink(missing_ok=True)
        self.old = "primary"
        self.start()

    def _move_wal(self, node, directory):
        wal = self.wal(node)
        for entry in list(wal.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        subprocess.run(["cp", "-a", "-T", directory / "pg_wal", wal], check=True)
        shutil.rmtree(directory / "pg_wal")
        (directory / "pg_wal").symlink_to(wal)
        subprocess.run(["chown", "-h", "postgres:postgres", directory / "pg_wal"], check=True)

    def start(self):
        """Everything runs and is in sync: both servers, the exporter, the load."""
        self.lab("up")
        for node in NODES:
            self.stream_through_proxy(node)
        self.lab("load", "--ops-per-second", "50")
        self.recall()

    def stream_through_proxy(self, node):
        told = self.superuser(node, "select current_setting('primary_conninfo') where pg_is_in_recovery()").rows
        if not told:
            return
        upstream = other(node)
        new = " ".join(
            f"port={self.port('stream', upstream)}" if part.strip("'").startswith("port=") else part
            for part in told[0][0].split()
        )
        if new != told[0][0]:
            self.superuser(node, "alter system set primary_conninfo = '" + new.replace("'", "''") + "'")
            self.superuser(node, "select pg_reload_conf()")

    def end(self):
        for pid in self.agents():
            kill(pid, signal.SIGKILL)
        self.lab("down", "--wipe", check=False)
        self.network.end()
        for directory in reversed(self.mounts):
            subprocess.run(["umount", "-l", directory], check=False)

    # --- Who can be asked, and how

    def port(self, party, node):
        return self.network.ports[f"{party}_{node}"]

    def conninfo(self, node, role, database, port=None):
        return f"host=127.0.0.1 port={port or self.ports[node]} user={role} dbname={database} passfile={self.pgpass}"

    def superuser(self, node, statement, database="postgres", patience=10):
        return pq.ask(self.conninfo(node, "postgres", database), statement, patience)

    def application(self, node, statement, patience=5):
        return pq.ask(self.conninfo(node, "pgrm_app", "testdb"), statement, patience)

    def takes_writes(self, node):
        return self.application(node, "insert into tried default values").kind == pq.ACKNOWLEDGED

    def writable(self):
        return [node for node in NODES if self.takes_writes(node)]

    def in_recovery(self, node):
        rows = self.superuser(node, "select pg_is_in_recovery()").rows
        return rows[0][0] == "t" if rows else None

    def in_sync(self):
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "2", f"http://127.0.0.1:{self.exporter}/metrics"],
            capture_output=True,
            text=True,
        )
        return "\npgrm_in_sync 1" in done.stdout

    def until(self, seconds, what, condition):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {seconds} s: {what}")
            time.sleep(0.1)

    # --- Processes

    def server_pid(self, node):
        """Of the postmaster, if it runs: the pid in its file may be another program's by now."""
        try:
            pid = int((self.directory(node) / "postmaster.pid").read_text().split()[0])
            return pid if pathlib.Path(f"/proc/{pid}/cwd").samefile(self.directory(node)) and alive(pid) else None
        except (OSError, ValueError, IndexError):
            return None

    def server_processes(self, node):
        """All that has the data directory as its working directory: backends outlive their postmaster for a moment."""
        found = []
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(directory / "cwd") == str(self.directory(node)):
                    found.append(int(directory.name))
            except OSError:
                continue
        return [pid for pid in found if alive(pid)]

    def start_server(self, node):
        if self.server_pid(node) is None:
            for _ in range(100):
                if not self.server_processes(node):
                    break
                time.sleep(0.1)
            for pid in self.server_processes(node):
                kill(pid, signal.SIGKILL)
            self.lab("node", "start", env={"PGRM_NODE_PORT": str(self.ports[node])}, check=False)

    def lab_program_pid(self, name):
        try:
            pid = int((self.data / "run" / f"{name}.pid").read_text().split()[0])
            return pid if alive(pid) else None
        except (OSError, ValueError, IndexError):
            return None

    # --- The agent

    def agent_env(self):
        env = {key: value for key, value in self.env.items() if key not in ("LAB_HOME", "PGRM_BIN", "PG_BIN")}
        env.update(
            PRIMARY_HOST="127.0.0.1",
            REPLICA_HOST="127.0.0.1",
            PRIMARY_PORT=str(self.port("agent", "primary")),
            REPLICA_PORT=str(self.port("agent", "replica")),
            POSTGRES_USER="pgrm_agent",
            POSTGRES_DB="testdb",
            POSTGRES_PASSWORD_FILE=str(self.secrets / "pgrm_agent"),
            EXPORTER_URL=f"http://127.0.0.1:{self.exporter}",
            LOADGEN_URL=f"http://127.0.0.1:{self.loadgen}",
            STATE_DIR=str(self.state),
            NODE_CONTROL=str(self.node_control),
            SYNC_TIMEOUT="30",
            PROMOTE_TIMEOUT="15",
        )
        if self.preload:
            env["LD_PRELOAD"] = str(self.preload)
        return env

    def start_agent(self, log, *arguments, env=None):
        """In a folder of its own, where its clock can be made wrong."""
        folder = self.home / "agent"
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [self.programs / "agent", *arguments],
            env=dict(self.agent_env(), **(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=open(log, "w"),
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )

    def agent(self, log, *arguments, patience=120):
        """Its exit status, or None when it did not end."""
        process = self.start_agent(log, *arguments)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None

    def agents(self):
        """Every process of the agent's on this pair's STATE_DIR, guards included."""
        mark, found = f"STATE_DIR={self.state}\0".encode(), []
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (directory / "exe").samefile(self.programs / "agent") and mark in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
            except OSError:
                continue
        return [pid for pid in found if alive(pid)]

    def journals(self):
        return sorted(self.state.glob("*/journal.jsonl"))
