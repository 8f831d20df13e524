"""Faults of processes. `which` is old or new: the server that is the primary before the cutover, or after it."""

import signal

import pair


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
        return c.pair.server_processes(getattr(c, which))

    return pids


def postmaster(which):
    def pids(c):
        found = c.pair.server_pid(getattr(c, which))
        return [found] if found else []

    return pids


def kill_server(which):
    """As a loss of power would: its backends with it."""

    def act(c):
        # Stopped first: no new backend escapes.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (*postmaster(which)(c), *whole_server(which)(c)):
                pair.kill(pid, number)
        return lambda: c.pair.start_server(getattr(c, which))

    return act


def kill_postmaster(which):
    """Its backends live on for a moment."""

    def act(c):
        for pid in postmaster(which)(c):
            pair.kill(pid, signal.SIGKILL)
        return lambda: c.pair.start_server(getattr(c, which))

    return act


def kill_child(which):
    """The server ends all sessions and recovers by itself, as after an OOM kill."""

    def act(c):
        found = c.pair.server_pid(getattr(c, which))
        for pid in c.random.sample(pair.children(found), 1) if found and pair.children(found) else []:
            pair.kill(pid, signal.SIGKILL)
        return lambda: c.pair.start_server(getattr(c, which))

    return act


def stop_server(which, number):
    def act(c):
        for pid in postmaster(which)(c):
            pair.kill(pid, number)
        node = getattr(c, which)

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
