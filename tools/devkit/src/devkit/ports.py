"""Port numbers for servers that are stopped, killed and started again on the same port."""

import contextlib
import random
import socket
from itertools import cycle, islice

LOWEST, HIGHEST = 20_000, 32_000
"""Below the range the kernel gives to outgoing connections (Linux from 32768, macOS from 49152).

A client that keeps trying to reach a dead server on a port from that range can be given the very same port
for its own end, connect to itself and keep the server from coming back.
"""

_candidates = cycle(random.sample(range(LOWEST, HIGHEST), k=HIGHEST - LOWEST))
"""Never the same port twice in a row of calls: what was given out a moment ago may not be listened on yet."""


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return as many different TCP ports nothing listens on. Raises `OSError` where they cannot be found."""
    found: list[int] = []
    for port in islice(_candidates, 200 + count):
        if len(found) == count:
            break
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((host, port))
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} free TCP ports between {LOWEST} and {HIGHEST} on {host}")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port nothing listens on. Raises `OSError` where none can be found."""
    return free_ports(1, host)[0]
