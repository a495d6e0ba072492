"""`make people`: people answer in the app while replies are on their way, on running services, at seeded moments.

    make people                        # 200 conversations, a seed of its own, about a minute
    make people COUNT=50 SEED=7        # fewer, and the same customers, delays and moments again
    make people SABOTAGE=no_lookout    # a build that does not look out for people: it should be caught

In every conversation a customer asks, the model thinks for a seeded while, and a person's echo is posted to ingest at a
seeded moment around the one at which the bot is expected to speak. No message of the bot may have been announced
(`attempting` in the ledger) after the webhook with the echo was answered with 200. How long after that answer the last
call of the bot began is the time to silence; it can only be a call that was announced before.

Ends with 1 when the bot spoke after a person; the folder with every process's log is kept then.
"""

import argparse
import asyncio
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2
from director import SETTINGS
from evidence import KafkaEvidence
from pymongo import AsyncMongoClient

from common.failpoints import SABOTAGES
from common.mongo import DELIVERIES
from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack
from devkit.webhook_sender import WebhookSender

COUNT = 200
REHEARSALS = 24
"""Conversations in which nobody answers: caches are filled, and when the bot speaks is learnt from them."""
AT_ONCE = 8
"""Conversations that run at the same time: enough for a busy service, few enough to hit a moment."""
NO_SUBSCRIBER_EVERY = 2
"""Every second customer is none in ManyChat, so that both routes are used."""
SHORTEST_THOUGHT, LONGEST_THOUGHT = 0.15, 0.7
BEFORE, AFTER = 0.05, 0.05
"""Seconds around the moment at which the bot should speak, within which most people answer."""
CLOSER, CLOSEST, SHRINKS = 0.04, 0.008, 0.94
"""Seconds by which that moment is corrected after each conversation, sooner where the bot came first, else later: less
and less.
"""
ANYWHERE = 0.25
"""How many of the people answer at any moment instead."""
POST_SECONDS = 8.0
SETTLE_SECONDS = 40.0
LOOKS = 3
OK = 200
SAYING = frozenset({("graph", "message"), ("manychat", "sendContent")})
"""What the sandbox calls a direct message."""


@dataclass(frozen=True)
class Race:
    """One conversation: how long the model thinks, and when the person answers (seconds; None: never).

    `moment` counts from when the customer's webhook is posted, or, where `near`, from when the bot should speak.
    """

    number: int
    thought: float
    moment: float | None
    near: bool = True

    @property
    def tag(self) -> str:
        """What its messages are known by."""
        return f"#p{self.number}"


@dataclass
class Lived:
    """What happened in a conversation, in seconds since 1970."""

    race: Race
    contact: str
    asked_at: float = 0.0
    posted_at: float | None = None
    acknowledged_at: float | None = None
    calls: tuple[float, ...] = ()
    announced: tuple[float, ...] = ()
    state: str = ""

    @property
    def late(self) -> bool:
        """Whether a message was sent that had been announced after the person was acknowledged."""
        acknowledged = self.acknowledged_at
        return acknowledged is not None and any(at > acknowledged for at in self.announced)

    @property
    def silence(self) -> float | None:
        """How long after the person's acknowledgement the bot's last call began; None where none began after it."""
        acknowledged = self.acknowledged_at
        after = [at - acknowledged for at in self.calls if acknowledged is not None and at > acknowledged]
        return max(after, default=None)


@dataclass(frozen=True)
class Verdict:
    """What a run came to."""

    seed: int
    lived: Sequence[Lived] = field(repr=False)

    @property
    def late(self) -> list[Lived]:
        """Where the bot spoke after a person."""
        return [one for one in self.lived if one.late]

    @property
    def silences(self) -> list[float]:
        """The times to silence of the calls that were under way, sorted."""
        return sorted(one.silence for one in self.lived if one.silence is not None)

    def lines(self) -> list[str]:
        """Return the figures, readably."""
        states = Counter(one.state for one in self.lived)
        spoke_first = sum(one.silence is None and bool(one.calls) for one in self.lived)
        never = sum(not one.calls for one in self.lived)
        times = self.silences
        told = [
            f"{len(self.lived)} conversations, seed {self.seed}",
            f"bot messages announced after a person's webhook was acknowledged: {len(self.late)}",
            f"the person came first in {never}, the bot in {spoke_first}",
            f"a call of the bot began after the acknowledgement in {len(times)}",
            f"replies: {dict(sorted(states.items()))}",
        ]
        if times:
            told.append(
                "from acknowledgement to silence: at once, but for those calls "
                f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {_p99(times) * 1000:.1f} ms, "
                f"max {times[-1] * 1000:.1f} ms"
            )
        told += [
            f"{one.race.tag} ({one.contact}): acknowledged {one.acknowledged_at}, announced {one.announced}"
            for one in self.late
        ]
        return told


def _p99(times: Sequence[float]) -> float:
    return times[min(len(times) - 1, int(len(times) * 0.99))]


def races(count: int, seed: int) -> list[Race]:
    """Return the conversations of a seed."""
    random = Random(seed)
    drawn = []
    for number in range(count):
        thought = random.uniform(SHORTEST_THOUGHT, LONGEST_THOUGHT)
        near = random.random() >= ANYWHERE
        moment = random.uniform(-BEFORE, AFTER) if near else random.uniform(0.0, thought + 0.5)
        drawn.append(Race(number, thought, moment, near))
    return drawn


class People:
    """Customers who ask, a model that thinks, people who answer; and what came of it."""

    def __init__(self, stack: Stack, client: httpx2.AsyncClient, seed: int) -> None:
        if stack.kafka is None or stack.mongo is None:
            raise ValueError("stack: its Kafka and MongoDB must be its own, or they cannot be looked into")
        environment = stack.environment()
        self._seed = seed
        self._kafka = KafkaEvidence(stack.kafka.direct_bootstrap)
        self._mongo_url = stack.mongo.url
        self._sandbox = SandboxClient(stack.url("sandbox"), client)
        self._simulator = Simulator(seed=f"people {seed}", account=environment["INSTAGRAM_PAGE_ID"])
        self._sender = WebhookSender(
            f"{stack.url('ingest')}/webhooks/instagram",
            environment["META_APP_SECRET"].split(",")[0],
            client,
            timeout_seconds=POST_SECONDS,
        )
        self._places = asyncio.Semaphore(AT_ONCE)
        self._usual, self._closer = 0.0, CLOSER

    async def run(self, count: int) -> Verdict:
        """Let `count` people answer and return what came of it."""
        await self._sandbox.script("", reply="We read {tags} and will gladly help.")
        rehearsal = [
            Race(10_000 + race.number, race.thought, None, near=False) for race in races(REHEARSALS, self._seed)
        ]
        rehearsed = await self._all(rehearsal)
        self._usual = min(one.calls[0] - one.asked_at - one.race.thought for one in rehearsed if one.calls)
        return Verdict(self._seed, await self._all(races(count, self._seed)))

    async def _all(self, which: Sequence[Race]) -> list[Lived]:
        async with asyncio.TaskGroup() as group:
            living = [group.create_task(self._in_turn(race)) for race in which]
        lived = [one.result() for one in living]
        await self._rest()
        await self._look(lived)
        return lived

    async def _in_turn(self, race: Race) -> Lived:
        async with self._places:
            one = await self._live(race)
            if race.near:
                said = await self._sandbox.journal(contact=one.contact)
                spoke = any((entry["api"], entry["kind"]) in SAYING for entry in said["entries"])
                self._usual = max(0.0, self._usual + (-self._closer if spoke else self._closer))
                self._closer = max(CLOSEST, self._closer * SHRINKS)
            return one

    async def _live(self, race: Race) -> Lived:
        one = Lived(race, self._simulator.contact())
        if race.number % NO_SUBSCRIBER_EVERY:
            await self._sandbox.tell_person(one.contact, subscriber=False)
        await self._sandbox.add_fault(
            api="openai", behaviour="slow", text=f"{race.tag} ", seconds=race.thought, times=1
        )
        question = self._simulator.text(one.contact, f"{race.tag} is it still there")
        answer = self._simulator.echo(one.contact, f"{race.tag} I will see to it myself.")
        await self._sandbox.webhook(question, deliver=False)
        one.asked_at = time.time()
        asking = asyncio.create_task(self._sender.send(question))
        if race.moment is not None:
            speaks = race.thought + self._usual if race.near else 0.0
            await asyncio.sleep(max(0.0, speaks + race.moment))
            one.posted_at = time.time()
            if await self._sender.send(answer) == OK:
                one.acknowledged_at = time.time()
        if await asking != OK:
            raise RuntimeError(f"{race.tag}: ingest did not take the customer's message")
        await asyncio.sleep(max(0.0, one.asked_at + race.thought + self._usual + AFTER - time.time()))
        return one

    async def _rest(self) -> None:
        """Wait until everything that is in Kafka is done, a few looks in a row."""
        give_up, calm = time.monotonic() + SETTLE_SECONDS, 0
        while calm < LOOKS:
            waiting = (await self._kafka.backlog()).waiting
            calm = 0 if waiting else calm + 1
            if time.monotonic() > give_up:
                raise RuntimeError(f"{waiting} records are not committed after {SETTLE_SECONDS:.0f} s")
            await asyncio.sleep(0.2)

    async def _look(self, lived: Sequence[Lived]) -> None:
        """Read in the sandbox's journal and in the ledger what the bot did."""
        calls = [entry async for entry in self._sandbox.whole_journal() if (entry["api"], entry["kind"]) in SAYING]
        rows = await self._rows()
        for one in lived:
            mine = [entry for entry in calls if entry["contact"] == one.contact and entry["effect"]]
            one.calls = tuple(entry["received"] for entry in mine)
            row = rows.get(one.contact, {})
            one.state = row.get("state", "none")
            one.announced = tuple(
                part["attempted_at"].timestamp() for part in row.get("parts", ()) if part["state"] != "waiting"
            )

    async def _rows(self) -> dict[str, Mapping[str, Any]]:
        async with AsyncMongoClient[dict[str, Any]](self._mongo_url, tz_aware=True) as client:
            found = client.get_default_database()[DELIVERIES].find({"kind": "direct_message"})
            return {row["contact_id"]: row async for row in found}


async def compete(stack: Stack, count: int, seed: int) -> Verdict:
    """Let people answer on a running stack and return what came of it."""
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=0)
    async with httpx2.AsyncClient(trust_env=False, limits=limits) as client:
        return await People(stack, client, seed).run(count)


def main(given: Sequence[str] | None = None) -> int:
    """Run on a stack of its own; 1 when the bot spoke after a person."""
    parser = argparse.ArgumentParser(prog="people.py", description="Let people answer while replies are on their way.")
    parser.add_argument(
        "--count", type=int, default=COUNT, help="conversations, 1 to 900: the sandbox keeps 1,000 delays"
    )
    parser.add_argument("--seed", type=int, help="repeats a run; without it one is drawn and printed")
    parser.add_argument("--sabotage", choices=sorted(name.removeprefix("sabotage.") for name in SABOTAGES))
    chosen = parser.parse_args(given)
    if not 1 <= chosen.count <= 900:
        parser.error(f"--count {chosen.count}: give 1 to 900")
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    settings = {**SETTINGS, **({"JAWAB_FAILPOINT": f"sabotage.{chosen.sabotage}"} if chosen.sabotage else {})}
    home = Path(tempfile.mkdtemp(prefix="jawab-people-"))
    with Stack(home, settings=settings) as stack:
        verdict = asyncio.run(compete(stack, chosen.count, seed))
    sys.stdout.write("\n".join(verdict.lines()) + "\n")
    if verdict.late:
        sys.stdout.write(f"logs: {home}\n")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
