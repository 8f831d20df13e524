"""Strangers and people with SQL."""

import shutil
import threading
import time

import pair
import pq


def order(which, statement, database="postgres"):
    def act(c):
        c.pair.superuser(getattr(c, which), statement, database, patience=20)

    return act


def hold(which, statement, database="postgres"):
    """A session that keeps a transaction open until it is healed, or ended."""

    def act(c):
        session = pq.Session(c.pair.conninfo(getattr(c, which), "postgres", database))
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
