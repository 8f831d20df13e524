"""Faults of disks, of configuration files, and of clocks, which misfortune.c reads from a file."""


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
        file = c.pair.directory(getattr(c, which)) / name
        file.write_text(text(c.random) if callable(text) else text)
        file.chmod(0o644)
        return lambda: file.unlink(missing_ok=True)

    return act


def fsync_fails(which):
    def act(c):
        node = getattr(c, which)
        heal_file = data_file(which, "misfortune.fsync", "")(c)

        def heal():
            heal_file()
            c.pair.start_server(node)

        return heal

    return act


def configuration_cannot_be_written(which):
    """ALTER SYSTEM writes postgresql.auto.conf.tmp first: a folder of that name is in its way."""

    def act(c):
        folder = c.pair.directory(getattr(c, which)) / "postgresql.auto.conf.tmp"
        try:
            folder.mkdir()
        except FileExistsError:
            return None
        return folder.rmdir

    return act


def configuration_broken(which):
    def act(c):
        file = c.pair.server_home / "server" / f"{getattr(c, which)}.conf"
        file.write_text(file.read_text() + "this is no setting\n")
        return lambda: file.write_text(file.read_text().replace("this is no setting\n", ""))

    return act



def wrong_by(random):
    return str(random.choice((-1, 1)) * random.choice((2, 90, 3600, 86400)))


def agents_clock(c):
    file = c.pair.home / "agent" / "misfortune.clock"
    file.write_text(wrong_by(c.random))
    return lambda: file.unlink(missing_ok=True)
