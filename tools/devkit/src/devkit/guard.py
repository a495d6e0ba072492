"""Runs one command for a parent that may be killed at any moment, and takes the command down with it.

The parent holds the other end of a socket, the lifeline. Whatever ends the parent, SIGKILL included, closes
it, and the guard kills the command's whole process group. This needs neither Linux nor a particular thread
(a parent-death signal of the command itself would fire as soon as the *thread* that started it ended).
Should the guard itself be killed, Linux's parent-death signal ends the command.

Started by path and without site packages, so it imports nothing of ours: `guard.py FD COMMAND ARGUMENT…`.
It answers `started PID` or `failed REASON` on the lifeline, then takes signal numbers from it, one byte each,
and passes them to the group. It ends as the command ended: same exit code, or same signal.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str]) -> NoReturn:
    """Run the command until it ends, the parent ends, or a signal says so."""
    lifeline = socket.socket(fileno=int(arguments[0]))
    lifeline.set_inheritable(False)
    wakeups = _signals_as_bytes()
    pid = _spawn(arguments[1:], lifeline)
    watched: list[int] = [lifeline.fileno(), wakeups]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if lifeline.fileno() in ready:
            orders = _orders(lifeline)
            if not orders:
                watched.remove(lifeline.fileno())
            for number in orders or bytes([signal.SIGKILL]):
                _to_group(pid, number)
        if wakeups in ready:
            for number in os.read(wakeups, 256):
                if number != signal.SIGCHLD:
                    _to_group(pid, number)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _to_group(pid, signal.SIGKILL)
            _end_as(os.waitstatus_to_exitcode(status))


def _orders(lifeline: socket.socket) -> bytes:
    """Return the signal numbers that came; nothing once the parent has ended.

    A parent that is killed before it has read the answer leaves unread bytes, and the kernel tells that as a reset.
    """
    try:
        return lifeline.recv(64)
    except OSError:
        return b""


def _signals_as_bytes() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGCHLD, *PASSED_ON):
        signal.signal(number, lambda *_: None)
    return reading


def _spawn(command: list[str], lifeline: socket.socket) -> int:
    die_with_guard = _parent_death_signal()
    reading, writing = os.pipe()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, guard, die_with_guard, writing)
    os.close(writing)
    reason = os.read(reading, 4096)  # empty once the command's exec has closed the other end
    os.close(reading)
    if reason:
        os.waitpid(pid, 0)
        lifeline.sendall(b"failed " + reason + b"\n")
        os._exit(127)
    # A parent that is gone already shows as the end of the lifeline in the loop.
    with contextlib.suppress(OSError):
        lifeline.sendall(f"started {pid}\n".encode())
    return pid


def _become(command: list[str], guard: int, die_with_guard: Callable[[], None], failure: int) -> NoReturn:
    try:
        os.setpgid(0, 0)
        die_with_guard()
        if os.getppid() != guard:
            os._exit(1)
        for number in (*PASSED_ON, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(failure, str(error).encode())
    os._exit(127)


def _parent_death_signal() -> Callable[[], None]:
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _to_group(group: int, number: int) -> None:
    with contextlib.suppress(OSError):  # gone already
        os.killpg(group, number)


def _end_as(exit_code: int) -> NoReturn:
    if exit_code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code if exit_code >= 0 else 128 - exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
