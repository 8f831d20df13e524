"""After a round: every fault is healed, a person types what the guide says, and then everything must be as it was promised."""

import os
import re
import subprocess
import time

import pair as pairs
import pq

GUARD = 25  # s that a guard gets to finish by itself, before a person types `agent recover`
LEFT_BEHIND = """
select 'default_transaction_read_only is on' where current_setting('default_transaction_read_only') = 'on'
union all select 'a wedge: ' || setting from pg_settings where name = 'synchronous_standby_names' and setting <> ''
union all select 'wal_init_zero is off' where current_setting('wal_init_zero') = 'off'
union all select 'database ' || datname || ' is closed' from pg_database where not datallowconn and datname <> 'template0'
union all select s from pg_db_role_setting, unnest(setconfig) as s where s like 'pgrm.cutover=%'"""
STATE = """
select coalesce(string_agg(datname || datallowconn, ' ' order by datname), '') || coalesce((select string_agg(name || setting, ' '
  order by name) from pg_settings
  where name in ('default_transaction_read_only', 'synchronous_standby_names', 'wal_init_zero')), '')
  || coalesce((select string_agg(setconfig::text, ' ' order by setrole, setdatabase) from pg_db_role_setting), '')
  || pg_is_in_recovery() from pg_database"""


# Before a rewind: the prober has written behind the fence, or nobody can look whether it has (npm's builds have no pg_waldump).
DIVERGED = r"lacks(: public.prober_writes INSERT \d+;| cannot be told)"


class Ledger:
    """What the witness has written down since the last round, and all that was ever acknowledged on this pair."""

    def __init__(self, path):
        self.path, self.acknowledged = path, set()
        self.offset = 0

    def new_entries(self):
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        entries = []
        for line in whole.decode().splitlines():
            kind, written, name, began, answered = line.split("\t")
            entries.append((kind, written, name, float(began), float(answered)))
            if kind == pq.ACKNOWLEDGED:
                self.acknowledged.add(written)
        return entries


def acknowledged_by(node, entries):
    """When they began and were answered."""
    return [
        (began, answered)
        for kind, _, name, began, answered in entries
        if kind == pq.ACKNOWLEDGED and name.startswith(node)
    ]


class Judge:
    def __init__(self, round_, ledger, prober):
        self.round, self.pair, self.ledger, self.prober = round_, round_.pair, ledger, prober
        self.wrong, self.ended, self.recovered = [], "", ""
        self.excused = any("person" in one.fault.excuses and one.happened for one in round_.plan.faults)

    def must(self, what, holds):
        if not holds:
            self.wrong.append(what)

    # --- What a person does

    def settle(self):
        """Servers that a fault has stopped run again, and the guard has had its time."""
        deadline = time.monotonic() + GUARD
        while self.pair.agents() and time.monotonic() < deadline:
            time.sleep(0.2)
        # A server that the cutover has stopped on purpose stays down.
        stopped = "stop" in self.round.plan.arguments
        for node in pairs.NODES:
            if not (stopped and node == self.round.old and self.round.status == 0):
                self.bring_back(node)

    def bring_back(self, node):
        """PostgreSQL 18 hangs when its recovery after a crash fails (the startup process panics): a person kills it and starts it."""
        try:
            self.pair.until(30, f"{node} answers", lambda: self.answers(node))
        except RuntimeError:
            pid = self.pair.server_pid(node)
            if pid is None:
                raise
            self.round.notes.append(f"{node} did not answer for 30 s, and was killed and started anew")
            pairs.kill(pid, 9)
            self.pair.until(60, f"{node} answers", lambda: self.answers(node))

    def answers(self, node):
        """A server may die of the fault some time after it: of a recovery that could not write, for one."""
        self.pair.start_server(node)
        return self.pair.in_recovery(node) is not None

    def recover(self, name, *arguments):
        """As a person types it, who waits while the guard is at it."""
        log, deadline = self.round.directory / f"{name}.log", time.monotonic() + 30
        while True:
            status = self.pair.agent(log, "recover", *arguments)
            self.must(f"`agent recover {' '.join(arguments)}` does not end", status is not None)
            text = log.read_text()
            busy = status == 7 and re.search(r"another agent .*holds|lock of this cluster", text)
            if not busy or time.monotonic() > deadline:
                return status, text
            time.sleep(1)

    def writable_printed(self, text):
        found = re.findall(r"^ *writable now +(.*)$", text, re.M)
        return found[-1].strip() if found else None

    def writable_as_printed(self):
        nodes = self.pair.writable()
        return " and ".join(f"127.0.0.1:{self.pair.port('agent', node)}" for node in nodes) or "none"

    def check_printed(self, what, text):
        printed, found = self.writable_printed(text), self.writable_as_printed()
        if printed is None:
            return
        known, _, unknown = printed.partition("; ")
        down = [node for node in pairs.NODES if self.pair.server_pid(node) is None]
        said = not unknown or any(str(self.pair.port("agent", node)) in unknown for node in down)
        seen = known == found or (known == "unknown" and found == "none" and down)
        self.must(f"{what} prints writable now {printed}, found is {found}", seen and said)

    def throw_away(self):
        """The prober's clients override the read-only default. What they have left on the old primary is no fault."""
        status = self.pair.agent(self.round.directory / "discard.log", "rejoin", "--yes", "--discard-diverged")
        self.must(f"`agent rejoin --discard-diverged` ends with {status}", status == 0)
        self.ended = "a person decided"
        return self.recover("after-discard")

    def type_recover(self):
        """`agent recover`, and what its table says when it asks a person. How the round ended."""
        status, text = self.recover("recover")
        self.check_printed("recover", text)
        if status == 7:
            promoted = self.pair.in_recovery(self.round.new) is False
            status, text = self.recover("decided", "--complete" if promoted else "--abort")
            self.check_printed("recover --complete or --abort", text)
            self.ended = "a person decided"
        elif "nothing to recover" not in text:
            self.ended = "recover"
        if status == 6 and re.search(DIVERGED, text):
            status, text = self.throw_away()
        self.recovered = text
        self.must(f"recover ends with {status}", status in (0, 5))
        return status

    # --- What must hold

    def held_up_by_prober(self):
        """A client that overrides a read-only fence waits at its commit, and nothing is promoted over it; or nothing is rewound."""
        said = {5: "a client's transaction is still open", 6: DIVERGED}.get(self.round.status)
        return said is not None and re.search(said, self.round.output.read_text()) is not None

    def run(self):
        status = self.round.status
        expected = {0: self.round.new, 1: self.round.old, 3: self.round.old, 4: self.round.old, 5: self.round.old}.get(status)
        self.settle()
        if self.round.hung:
            self.wrong.append(self.round.notes[-1])
        happened = any(one.happened for one in self.round.plan.faults)
        expected_alone = 5 if self.round.plan.hook == "exit 1" else 0
        self.must(f"exit code {status} without any fault", happened or status == expected_alone or self.held_up_by_prober())
        # Before anybody has typed a thing.
        if expected and not self.excused:
            writable = self.pair.writable()
            self.must(f"exit code {status}, and {writable} take writes, not {expected}", writable == [expected])
        printed = self.writable_printed(self.round.output.read_text())
        if expected and printed != f"127.0.0.1:{self.pair.port('agent', expected)}":
            self.round.notes.append(f"exit code {status}, and the agent's own last look: writable now {printed}")
        self.type_recover()
        self.pair.until(30, "the guard has ended", lambda: not self.pair.agents())
        writable = self.pair.writable()
        self.must(f"one server takes writes: {writable}", len(writable) == 1)
        self.winner = writable[0] if len(writable) == 1 else None
        self.took = self.until_written()
        self.nothing_left()
        self.second_recover()
        self.witnesses()
        if not self.ended:
            self.ended = {0: "done", 1: "refused", 3: "refused", 4: "refused", 5: "undone"}.get(status, "guard")
        return not self.wrong

    def nothing_left(self):
        if self.winner:
            rows = self.pair.superuser(self.winner, LEFT_BEHIND).rows
            self.must(f"left on the server that takes writes: {[row[0] for row in rows]}", not rows)
        if self.winner == self.round.old:
            self.type_warnings()
            rows = self.pair.superuser(self.round.new, "select 'wal_init_zero' where current_setting('wal_init_zero') = 'off'").rows
            self.must(f"left on the standby: {rows}", not rows)

    def type_warnings(self):
        """A standby that was down during an undo keeps its settings. The warning says what a person types there."""
        text = self.round.output.read_text() + self.recovered
        for typed in set(re.findall(r"warning: settings of .* are not as they were: .*?; (alter system .*)$", text, re.M)):
            for statement in typed.split("; "):
                self.pair.superuser(self.round.new, statement)
            self.ended = "a person decided"

    def state(self):
        return [self.pair.superuser(node, STATE).rows for node in pairs.NODES]

    def second_recover(self):
        before = self.state()
        status, text = self.recover("second-recover")
        nothing = status == 0 and "nothing to recover" in text
        self.must(f"a second recover ends with {status}, and says that there is something to recover", nothing)
        self.check_printed("a second recover", text)
        self.must("a second recover changes something", before == self.state())

    def until_written(self):
        """The longest time without an acknowledged write anywhere, by the witness, once the winner has written again."""
        if not self.winner:
            return None
        seen, deadline = 0, time.monotonic() + 30
        self.entries = []
        while seen < 20 and time.monotonic() < deadline:
            time.sleep(0.1)
            new = self.ledger.new_entries()
            self.entries += new
            seen += sum(began > self.round.at_end for began, _ in acknowledged_by(self.winner, new))
        self.must(f"the witness writes to {self.winner} again", seen >= 20)
        times = sorted(entry[4] for entry in self.entries if entry[0] == pq.ACKNOWLEDGED)
        return max((after - before for before, after in zip(times, times[1:])), default=None)

    def witnesses(self):
        self.prober.terminate()
        try:
            verdict = self.prober.wait(60)
        except subprocess.TimeoutExpired:
            self.prober.kill()
            verdict = "none: it does not end"
        self.must(f"the prober's verdict is {verdict}", verdict == 0 or self.excused)
        entries = self.entries = getattr(self, "entries", []) + self.ledger.new_entries()
        by_new = [answered for _, answered in acknowledged_by(self.round.new, entries)]
        by_old = [began for began, _ in acknowledged_by(self.round.old, entries)]
        twice = bool(by_new and by_old and max(by_old) > min(by_new))
        self.must("both servers acknowledged writes: the old one after the new one", not twice or self.excused)
        if self.winner:
            answer = self.pair.superuser(self.winner, "select id from witness_writes", "testdb", patience=60)
            there = {row[0] for row in answer.rows}
            missing = self.ledger.acknowledged - there
            what = f"{len(missing)} acknowledged writes of the witness are missing: {sorted(missing)[:5]}"
            self.must(what, not missing or self.excused)
            verified = self.pair.lab("verify", check=False)
            self.must(f"loadgen verify ends with {verified}", verified == 0 or self.excused)


def keep(round_, pair, plan):
    """Everything that says what happened, beside the round's own logs."""
    for source in (pair.home / "logs", pair.state, pair.home / "lab.log", pair.home / "toxiproxy.log"):
        subprocess.run(["cp", "-a", source, round_.directory], check=False)
    (round_.directory / "plan").write_text(f"{plan}\nnotes: {round_.notes}\n" + "".join(
        f"{one.fault.name}: {one.happened or 'not brought about'}\n" for one in plan.faults))
    for path in round_.directory.rglob("*"):
        if path.is_file() and path.stat().st_size > 32 << 20:
            os.truncate(path, 32 << 20)
