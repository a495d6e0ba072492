"""What pace replicas reach together, and whether a limit is ever exceeded: real time, real HTTP, real processes.

Each replica is a process that sends as many messages as it may through the pacing and the Graph API's client of the
delivery service; the sandbox counts what meets in any window. The pace is the shortest time in which so many calls are
allowed, as a share of the time they took.

    python tests/bench/pacing.py                       # two replicas that count together, ten seconds
    python tests/bench/pacing.py --own                 # each with its own share
    python tests/bench/pacing.py --replicas 4 --limit message=200/second --seconds 30
"""

import argparse
import asyncio
import itertools
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass

import httpx2
from prometheus_client import CollectorRegistry

from common.errors import Paced
from common.events.replies import Action, DirectMessage, MediaMessage, PrivateReply
from common.http_client import http_client
from common.log import configure_logging
from delivery.metrics import PaceMetrics
from delivery.pace.pacing import Pacing, pacing
from delivery.pace.rate_limits import Limit, LimitName, meters_of, parse_limits
from delivery.pace.shared_count import SharedCount
from delivery.platforms.calls import OutsideApi
from delivery.platforms.instagram import Graph
from devkit.redis import EmbeddedRedis
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
START_SECONDS = 8.0
AT_ONCE = 40
COUNTED_AS: dict[LimitName, str] = {"message": "send", "media": "send_media", "private_reply": "private_reply"}
DEFAULT_LIMITS = "message=40/second, media=8/second, private_reply=12/3 seconds"


@dataclass(frozen=True)
class Figure:
    """What came of one kind: the share of the pace, and the calls above the limit."""

    name: LimitName
    limit: Limit
    calls: int
    seconds: float
    exceeded: int

    @property
    def reached(self) -> float:
        """The shortest time in which so many calls are allowed, as a share of the time they took."""
        return (self.calls - 1) // self.limit.calls * self.limit.seconds / self.seconds


def action_of(name: LimitName, number: str) -> Action:
    """Return a send that counts against a limit."""
    match name:
        case "media":
            return MediaMessage(media="audio", urls=("https://shop.example/voice.m4a",))
        case "private_reply":
            return PrivateReply(comment_id=f"1789{number}", text="Hello")
        case _:
            return DirectMessage(text="Hello")


@dataclass(frozen=True)
class Replica:
    """One process: where it sends to, with whom it counts, and until when (seconds since 1970)."""

    limits: str
    url: str
    redis: str
    replicas: int
    number: int
    until: float

    async def run(self) -> None:
        """Send as much as is allowed."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(http_client(timeout=10.0, connections=3 * AT_ONCE))
            api = OutsideApi("graph", client, f"{self.url}/graph/v25.0", timeout=10.0, observe=lambda *_: None)
            paced = pacing(
                parse_limits(self.limits),
                places=3 * AT_ONCE,
                metrics=PaceMetrics(CollectorRegistry()),
                replicas=self.replicas,
                shared=SharedCount(self.redis) if self.redis else None,
            )
            stack.push_async_callback(paced.close)
            numbers = (f"{self.number:02}{number:08}" for number in itertools.count())
            each = [name for name in COUNTED_AS for _ in range(AT_ONCE)]
            await asyncio.gather(*(self._sender(name, paced, Graph(api), numbers) for name in each))

    async def _sender(self, name: LimitName, paced: Pacing, graph: Graph, numbers: Iterator[str]) -> None:
        sent, number = True, ""
        while time.time() < self.until:
            number = next(numbers) if sent else number
            action, turn, sent = action_of(name, number), paced.turn(), False
            try:
                await turn.take("graph", ACCOUNT, meters_of(action, "graph", account=ACCOUNT), who=number)
                if time.time() < self.until:
                    with turn.calling():
                        await graph.send("token", ACCOUNT, CONTACT, action)
                sent = True
            except Paced as told:
                await asyncio.sleep(max(min(told.after or 0.0, self.until - time.time()), 0.0))
            finally:
                turn.leave()


async def measure(
    limits: str = DEFAULT_LIMITS, *, seconds: float = 10.0, replicas: int = 2, together: bool = True
) -> list[Figure]:
    """Run every kind for so many seconds and return the figures."""
    wanted = {COUNTED_AS[name]: (name, limit) for name, limit in parse_limits(limits).items() if name in COUNTED_AS}
    with ExitStack() as stack:
        url = stack.enter_context(running_sandbox(SandboxSettings(port=0, echoes=False)))
        redis = stack.enter_context(EmbeddedRedis()).url if together else ""
        async with httpx2.AsyncClient() as client:
            sandbox = SandboxClient(url, client)
            await sandbox.limit_rates(**{what: (limit.calls, limit.seconds) for what, (_, limit) in wanted.items()})
            until = time.time() + START_SECONDS + seconds
            await _run([Replica(limits, url, redis, replicas, number, until) for number in range(replicas)])
            counts = (await sandbox.rates())["counts"]
    return [
        Figure(*wanted[one["what"]], one["calls"], max(one["last"] - one["first"], one["seconds"]), one["exceeded"])
        for one in counts
    ]


async def _run(replicas: Sequence[Replica]) -> None:
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--be", json.dumps(asdict(replica)), stdout=sys.stderr
        )
        for replica in replicas
    ]
    ended = await asyncio.gather(*(each.wait() for each in running))
    if any(ended):
        raise RuntimeError("a replica failed; its words are above")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", default=DEFAULT_LIMITS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--own", action="store_true", help="each replica keeps to its own share, without Redis")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    configure_logging("bench", level="warning", format="console")
    if arguments.be:
        asyncio.run(Replica(**json.loads(arguments.be)).run())
        return 0
    figures = asyncio.run(
        measure(arguments.limits, seconds=arguments.seconds, replicas=arguments.replicas, together=not arguments.own)
    )
    for one in figures:
        sys.stdout.write(
            f"{one.name:14} {one.limit.calls:g} in {one.limit.seconds:g} s: "
            f"{one.calls:5} calls in {one.seconds:.2f} s, {one.reached:6.1%} of the allowed pace, "
            f"{one.exceeded} above the limit\n"
        )
    return int(any(one.exceeded for one in figures))


if __name__ == "__main__":
    sys.exit(main())
