"""One cutover of the campaign: its plan by the seed, its faults as the journal is written, and what a person types afterwards."""

import dataclasses
import json
import random
import threading
import time

import judge
import pair as pairs
import table

STEPS = ("align_wal", "arm_fence", "stop_traffic", "fence", "promote", "validate", "open", "demote_old")
MOMENTS = ("start", *(f"begin {step}" for step in STEPS), "undoing")
# How often a kind is chosen: what happens to servers and networks every day before the rest.
WEIGHTS = {"process": 4, "network": 4, "disk": 2, "strangers": 2, "people": 2, "clock": 1}
HANG = 200  # s: longer than all time limits of a cutover with three attempts together


@dataclasses.dataclass
class Planned:
    fault: table.Fault
    moment: str
    delay: float
    duration: float
    happened: str = ""


@dataclasses.dataclass
class Plan:
    faults: list
    arguments: list
    hook: str  # what runs behind the fence: nothing, a moment of waiting, or a failure, which leads to an undo

    def __str__(self):
        faults = "; ".join(f"{one.fault.name} at {one.moment} + {one.delay:.2f} s for {one.duration:.1f} s" for one in self.faults)
        return f"{faults} | {' '.join(self.arguments)}{' | hook ' + self.hook if self.hook else ''}"


def plan(seed, number, faults):
    """The same for the same seed, round and list of faults."""
    rng = random.Random(f"{seed}/{number}")
    kinds = sorted({fault.kind for fault in faults})
    chosen = []
    for _ in range(1 if rng.random() < 0.6 else 2):
        (kind,) = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])
        fault = rng.choice([fault for fault in faults if fault.kind == kind])
        moment = rng.choice(fault.steps or MOMENTS)
        delay = rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 1)))
        chosen.append(Planned(fault, moment, delay, rng.choice((rng.uniform(0.1, 1), rng.uniform(1, 8)))))
    arguments = []
    if rng.random() < 0.2:
        arguments += ["--fence", "read-only"]
    demotions = ("read-only", "read-only", "closed", "stop", "standby")
    if arguments:  # only a closed fence can stay closed
        demotions = ("read-only", "stop", "standby")
    arguments += ["--demote", rng.choice(demotions)]
    arguments += ["--attempts", str(rng.randint(1, 3))]
    if rng.random() < 0.2:
        arguments += ["--no-guard"]
    hook = rng.choice(("", "", "sleep 0.5"))
    if any(one.moment == "undoing" for one in chosen):
        hook = "exit 1"
    return Plan(chosen, arguments, hook)


class Round:
    def __init__(self, pair, plan, directory, seed):
        self.pair, self.plan, self.directory = pair, plan, directory
        self.old, self.new = pair.old, pairs.other(pair.old)
        self.random = random.Random(seed)
        self.agent, self.status, self.ended = None, None, threading.Event()
        self.output = directory / "cutover.log"
        self.hung = False
        self.notes = []

    def run(self):
        before = set(self.pair.journals())
        back = ["--switch-back"] if self.old == "replica" else []
        self.agent = self.pair.start_agent(self.output, "cutover", "--yes", *back, *self.hooks(), *self.plan.arguments)
        threads = [threading.Thread(target=self.bring_about, args=(one, before), daemon=True) for one in self.plan.faults]
        for thread in threads:
            thread.start()
        try:
            self.status = self.agent.wait(HANG)
        except Exception:  # noqa: BLE001 - TimeoutExpired
            self.hung = True
            self.notes.append(f"the cutover did not end within {HANG} s")
            self.agent.kill()
            self.status = self.agent.wait()
        self.at_end = time.monotonic()
        self.ended.set()
        for thread in threads:
            thread.join()
        self.pair.network.heal()

    def hooks(self):
        if not self.plan.hook:
            return []
        folder = self.directory / "hooks"
        folder.mkdir()
        for name, line in (("post_fence", self.plan.hook), ("on_undo", "exit 0")):
            (folder / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / name).chmod(0o755)
        return ["--hooks", folder]

    def reached(self, moment, before):
        """Whether the journal of this cutover has come to `moment`."""
        if moment == "start":
            return True
        record, _, step = moment.partition(" ")
        for journal in set(self.pair.journals()) - before:
            for line in journal.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get("record") == record and (not step or entry.get("step") == step):
                    return True
        return False

    def is_over(self):
        """A guard may go on with the journal of an agent that has ended; some cutovers it cannot end at all."""
        return self.ended.is_set() and (not self.pair.agents() or time.monotonic() - self.at_end > judge.GUARD)

    def bring_about(self, one, before):
        while not self.reached(one.moment, before):
            if self.is_over():
                return
            time.sleep(0.003)
        time.sleep(one.delay)
        if self.is_over():
            return
        try:
            heal = one.fault.act(self)
            one.happened = f"{time.strftime('%H:%M:%S', time.gmtime())}.{int(time.time() * 1000) % 1000:03d}"
        except Exception as error:  # noqa: BLE001 - a fault that cannot be brought about any more is told
            self.notes.append(f"{one.fault.name}: {error!r}")
            return
        if heal is None:
            return
        time.sleep(one.duration)
        try:
            heal()
        except Exception as error:  # noqa: BLE001
            self.notes.append(f"healing {one.fault.name}: {error!r}")
