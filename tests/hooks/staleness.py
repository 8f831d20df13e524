"""staleness.py SOCKET BACKEND SERVER TIMES CLOSE OPEN: how late HAProxy's health check learns that a server takes writes or not.

CLOSE and OPEN are shell commands that make it so. Prints, in seconds, the least, the median and the most of TIMES.
"""

import socket
import statistics
import subprocess
import sys
import time

path, backend, server, times, close, open_ = sys.argv[1:]


def is_up():
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile() as answer:
        connection.connect(path)
        connection.sendall(f"show servers state {backend}\n".encode())
        rows = [line.split() for line in answer.read().splitlines()[2:]]
    return next(row[5] for row in rows if len(row) > 5 and row[3] == server) != "0"


def late(order, wanted):
    subprocess.run(order, shell=True, check=True)
    begin = time.monotonic()
    while is_up() != wanted:
        if time.monotonic() - begin > 30:
            sys.exit(f"{backend}/{server} is not {'up' if wanted else 'down'} after 30 s")
        time.sleep(0.01)
    return time.monotonic() - begin


def wait_a_while(n):
    """So that the orders do not keep step with the rounds of the exporter."""
    time.sleep(0.37 * (n % 4))


seen = {"down": [], "up": []}
for n in range(int(times)):
    wait_a_while(n)
    seen["down"].append(late(close, False))
    wait_a_while(n + 1)
    seen["up"].append(late(open_, True))
for name, figures in seen.items():
    print(f"{name}: {min(figures):.2f} {statistics.median(figures):.2f} {max(figures):.2f}")
