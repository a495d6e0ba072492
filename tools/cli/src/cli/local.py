"""What `jawab up` and `jawab demo` share: the folder they run in, how start-up is shown, and how failures read."""

import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from devkit.download import ChecksumMismatch
from devkit.environment import EnvironmentFileError, project_root
from devkit.kafka import KafkaUnavailable
from devkit.mongo import MongoUnfit
from devkit.mongo_servers import MongoUnavailable
from devkit.process import ProcessError
from devkit.stack import PortTaken, Stack


class RunsAlready(Exception):
    """Another process uses the folder; the message says what to do."""


FAILURES = (
    ChecksumMismatch,
    EnvironmentFileError,
    KafkaUnavailable,
    MongoUnavailable,
    MongoUnfit,
    PortTaken,
    ProcessError,
    RunsAlready,
)
"""What can keep the stack from starting; each says in its message what is wrong."""


class Interrupted(Exception):
    """The person, or the system, asked us to end."""


@contextmanager
def run_folder(name: str, *, keep: bool) -> Iterator[Path]:
    """Hold `.run/NAME` in the checkout, emptied unless `keep`. Raises RunsAlready while another process holds it."""
    folder = project_root() / ".run" / name
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunsAlready(f"`jawab {name}` runs here already: end it first (Ctrl-C where it runs)") from None
        if folder.exists() and not keep:
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        yield folder


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into Interrupted, once: everything started is then stopped in order."""

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start(stack: Stack, console: Console) -> None:
    """Start the stack and show each part as it gets ready."""
    console.print("Starting Kafka, MongoDB, the sandbox world and four services (the first time fetches them) …")
    stack.start(step_printer(console))


def step_printer(console: Console) -> Callable[[str, float], None]:
    """Return what prints a line for each part that is ready."""

    def step(name: str, seconds: float) -> None:
        console.print(f"  [green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]")

    return step
