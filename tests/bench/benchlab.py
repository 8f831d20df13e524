"""What the benchmarks in Python share: a pair of servers of `lab`'s for themselves, and waiting for a condition."""
import json, os, pathlib, socket, subprocess, sys, time, urllib.request

top = pathlib.Path(os.environ.get("PGRM_TOP") or pathlib.Path(__file__).resolve().parents[2])
programs = pathlib.Path(os.environ.get("PGRM_BIN") or top / "build/release/bin")
bench = pathlib.Path(sys.argv[0]).name
if unknown := set(sys.argv[1:]) - {"--json", "--update", "--quick"}:
    print(sys.modules["__main__"].__doc__)
    sys.exit(0 if unknown & {"-h", "--help"} else f"{bench}: what is {' '.join(unknown)}?")


def note(text):
    print("  --  " + text, file=sys.stderr, flush=True)


def wait_for(what, condition, seconds=60, pause=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{bench}: {what}: not within {seconds} s")
        time.sleep(pause)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """A lab in the folder `home`, with the default thresholds whatever the caller's environment says."""

    def __init__(self, home, interval="0.1"):
        self.environment = dict(os.environ, LAB_HOME=str(home), PGRM_BIN=str(programs), MONITORING_INTERVAL=interval, NO_COLOR="1")
        for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PRIMARY_PORT", "REPLICA_PORT", "EXPORTER_PORT", "LOADGEN_PORT",
                     "LAG_THRESHOLD_BYTES", "LAG_THRESHOLD_SECONDS"):
            self.environment.pop(name, None)
        self.home, self.exporter = home, None  # the port of another exporter than the lab's

    def run(self, *arguments, **more):
        run = subprocess.run([str(top / "lab"), *arguments], env=dict(self.environment, **more), stdin=subprocess.DEVNULL,
                             capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"{bench}: lab {' '.join(arguments)}\n{run.stdout}{run.stderr}")
        return run.stdout

    def setting(self, name):
        for line in (self.home / "data/lab.env").read_text().splitlines():
            if line.startswith(name + "="):
                return line.split("=", 1)[1]

    def sql(self, node, statement, database="testdb"):
        return self.run("psql", node, "-d", database, "-XqAt", "-c", statement).strip()

    def stop_load(self):
        pid = int((self.home / "data/run/loadgen.pid").read_text().split()[0])
        os.kill(pid, 15)
        while pathlib.Path(f"/proc/{pid}").exists():
            time.sleep(0.05)

    def state(self):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.exporter or self.setting('EXPORTER_PORT')}/api/v1/state", timeout=10))
