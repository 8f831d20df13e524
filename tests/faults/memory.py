"""Memory that runs out: the processes concerned get a control group that is too small, and the kernel kills in it."""

import pathlib
import uuid

LIMIT = 1 << 20


class Group:
    """A control group of version 1 or 2, whichever limits memory on this machine."""

    def __init__(self):
        top, self.limit_file, self.no_limit = hierarchy()
        self.top, self.folder = top, top / f"pgrm-faults-{uuid.uuid4().hex[:8]}"
        self.folder.mkdir()

    def take(self, pids):
        for pid in pids:
            _move(pid, self.folder)
        (self.folder / self.limit_file).write_text(str(LIMIT))

    def gone(self):
        """True when the members are out of it and it is removed."""
        (self.folder / self.limit_file).write_text(self.no_limit)
        for pid in (self.folder / "cgroup.procs").read_text().split():
            _move(pid, self.top)
        try:
            self.folder.rmdir()
        except OSError:  # a member is being killed, or has started another
            return False
        return True


def hierarchy():
    """Its folder, the file with a group's limit, and what that says when there is none; or None."""
    first, second = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
    if (first / "memory.limit_in_bytes").exists():
        return first, "memory.limit_in_bytes", "-1"
    controllers = second / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return second, "memory.max", "max"
    return None


def _move(pid, folder):
    try:
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError:  # it has ended
        pass


def runs_out(pids, which=None):
    """`pids` of the round get the small group. What they start later is in it, too."""

    def act(c):
        group = Group()
        group.take(pids(c))

        def heal():
            c.pair.until(30, "the small group is removed", group.gone)
            if which:
                c.pair.start_server(getattr(c, which))

        return heal

    return act
