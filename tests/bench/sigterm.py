"""SIGTERM under load: how long the process takes to end, what it leaves unfinished, what its successor does again.

The process is one of its own that runs the subscriber as a service does, and notes in a file what it begins and ends.
A record that was begun and not ended is one that was torn apart; one that was only waiting is let go for its successor.
"""

import asyncio
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rig import Row, consuming, create_topic, fill, fresh, out_of_order, run, settings_for, until, with_busy_ones

from common.events import AnyEvent

RECORDS = 8_000
KEYS = 2_000
WORK = (0.02, 0.08)
"""Seconds, evenly spread around 50 ms, so that records end in another order than they began."""
SLOTS = 100
ROUNDS = 3
BEFORE = 2_000
"""Records handled when the signal is sent."""
PATIENCE = 60.0


async def consume(bootstrap: str, topic: str, group: str, notes: TextIO) -> None:
    """Consume until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chance = random.Random(group)

    async def handler(event: AnyEvent) -> None:
        notes.write(f"+ {event.id}\n")
        await asyncio.sleep(chance.uniform(*WORK))
        notes.write(f"- {event.id}\n")

    async with consuming(settings_for(bootstrap, max_working=SLOTS), topic, group, handler):
        await stop.wait()


class Notes:
    """What the processes wrote, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.order: list[str] = []
        self._read = 0

    def ended_so_far(self) -> int:
        """Read what is new and return how many different records were handled to the end."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.decode("ascii").splitlines():
                mark, _, record = line.partition(" ")
                (self.begun if mark == "+" else self.ended)[record] += 1
                if mark == "-" and self.ended[record] == 1:
                    self.order.append(record)
        return len(self.ended)


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run this module as a process; it does not outlive the context."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def terminate(child: asyncio.subprocess.Process) -> float:
    """Send SIGTERM and return the seconds until the process has ended. Raises TimeoutError."""
    begun = time.perf_counter()
    child.terminate()
    async with asyncio.timeout(PATIENCE):
        await child.wait()
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Run:
    """One SIGTERM and the successor's work."""

    seconds: float
    torn: int
    twice: int
    lost: int
    disordered: int
    exit_code: int


async def once(bootstrap: str, topic: str, notes: Notes) -> Run:
    """Stop a process under load, let a successor finish, and compare what both wrote."""
    arguments = (bootstrap, topic, fresh("sigterm"), str(notes.path))
    async with process(*arguments) as first:
        await until(lambda: notes.ended_so_far() >= BEFORE, PATIENCE, "load", every=0.02)
        seconds = await terminate(first)
        code = first.returncode
    notes.ended_so_far()
    torn = sum((notes.begun - notes.ended).values())
    async with process(*arguments) as second:
        await until(lambda: notes.ended_so_far() >= RECORDS, PATIENCE, "the successor", every=0.02)
        await terminate(second)
    notes.ended_so_far()
    twice = sum(times > 1 for times in notes.ended.values())
    return Run(seconds, torn, twice, RECORDS - len(notes.ended), out_of_order(notes.order), code or 0)


async def measure(bootstrap: str) -> list[Row]:
    """Repeat the stopping on the same records."""
    topic = await create_topic(bootstrap, fresh("sigterm"))
    await fill(bootstrap, topic, with_busy_ones(KEYS, RECORDS))
    with tempfile.TemporaryDirectory() as folder:
        runs = [await once(bootstrap, topic, Notes(Path(folder) / f"notes-{number}")) for number in range(ROUNDS)]
    part = "SIGTERM under load"
    grace = settings_for(bootstrap).drain_timeout
    slowest = max(run.seconds for run in runs)

    def never(figure: str, name: str) -> Row:
        total = sum(getattr(run, name) for run in runs)
        return Row(part, figure, total, "", "0", total == 0, must=True)

    return [
        Row(part, "ended after", statistics.median(run.seconds for run in runs), "s"),
        Row(part, "ended after at most", slowest, "s", f"≤ {grace:g}", slowest <= grace, must=True),
        never("torn apart: begun and not finished", "torn"),
        never("lost", "lost"),
        never("out of order", "disordered"),
        never("exit codes that are not 0", "exit_code"),
        Row(part, "handled twice after a restart", statistics.median(run.twice for run in runs), "records"),
    ]


if __name__ == "__main__":
    *where, path = sys.argv[1:]
    with Path(path).open("a", buffering=1, encoding="ascii") as file:
        run(consume(*where, file))
