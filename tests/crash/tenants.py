"""`make tenants`: one merchant gets into every trouble there is while another merchant's customers write.

    make tenants                           # every trouble, 20 s each, a seed of its own, about five minutes
    make tenants SECONDS=8 SEED=7          # shorter, and the same customers again
    make tenants TROUBLES="flood typo"     # only these

First the other merchant is alone: its customers write, each once, and the time to the first answer is measured. Then
the same is measured during each trouble. No trouble may raise the 99th percentile beyond twice the undisturbed one of
the same run (`first_answers`), and every customer is answered.

Ends with 1 when a trouble delayed the other merchant; the folder with every process's log is kept then.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx2
from aiokafka.errors import KafkaError
from customers import Customers
from director import SETTINGS
from evidence import KafkaEvidence, taken
from first_answers import NOISE_SECONDS, UNDISTURBED, Delay, FirstAnswer, Phase, delays, max_p99
from steps import Say, Webhook
from tenant_troubles import TROUBLES, MisbehavingMerchant, known

from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack

SECONDS = 20.0
CUSTOMERS_PER_SECOND = 3.0
WARM_UP = 12
"""Customers who write before anything is measured: caches are filled, connections opened."""
ANSWERED_WITHIN = 20.0
"""Seconds after the last message of a phase; who is not answered by then counts as not answered."""
HEAD_START = 6.0
"""Seconds that a trouble lasts before the other merchant's customers write: services believe a document for five."""
REST_WITHIN = 45.0
LOOK_SECONDS = 0.3
LOOKS = 3
JOURNAL_LIMIT = 200_000
TENANT_SETTINGS: Mapping[str, str] = {
    **SETTINGS,
    "KAFKA_MAX_OUTSTANDING": "60",
    "KAFKA_MAX_WORKING": "24",
    "AI_MODEL_CONCURRENCY": "12",
}
"""A small installation: a trouble of seconds at a few messages a second fills what minutes would fill elsewhere, and
the stand-in for MongoDB, which does some fifty updates a second, is not what is measured.
"""

Show = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """What a run came to: the phases, the undisturbed one first."""

    seed: int
    phases: Sequence[Phase]
    counts: Counter[str] = field(default_factory=Counter)
    noise: float = NOISE_SECONDS

    @property
    def delays(self) -> Sequence[Delay]:
        """Return the troubles that delayed the other merchant's customers."""
        return delays(self.phases[0], self.phases[1:], self.noise)

    def lines(self) -> list[str]:
        """Return the report: a line a phase, then what was broken."""
        longest = max_p99(self.phases[0], self.noise)
        lines = [f"seed {self.seed}: first answers to one merchant's customers; p99 may be {longest:.2f} s"]
        for phase in self.phases:
            p50, p99, asked = phase.percentile(0.5), phase.percentile(0.99), len(phase.answers)
            silent = f", {phase.unanswered} not answered" if phase.unanswered else ""
            lines.append(f"  {phase.trouble:<16} {asked:>4} customers  p50 {p50:6.2f} s  p99 {p99:6.2f} s{silent}")
        lines += [f"  {name}: {number}" for name, number in sorted(self.counts.items())]
        lines += [f"✗ {delay}" for delay in self.delays] or ["✓ no trouble delayed the other merchant"]
        return lines


class Tenants:
    """One run on a running stack: `seconds` per phase, the troubles of these names."""

    def __init__(
        self,
        stack: Stack,
        client: httpx2.AsyncClient,
        *,
        seed: int,
        troubles: Sequence[str],
        seconds: float,
        show: Show,
    ) -> None:
        if stack.kafka is None:
            raise ValueError("stack: its Kafka must be its own")
        environment = stack.environment()
        self._seed, self._troubles, self._seconds, self._show = seed, troubles, seconds, show
        self._counts: Counter[str] = Counter()
        self._sandbox = SandboxClient(stack.url("sandbox"), client)
        self._kafka = KafkaEvidence(stack.kafka.direct_bootstrap)
        self._customers = Customers(
            Simulator(seed=f"tenants {seed}", account=environment["INSTAGRAM_PAGE_ID"]),
            self._sandbox,
            client,
            url=f"{stack.url('ingest')}/webhooks/instagram",
            secret=environment["META_APP_SECRET"],
            counts=Counter(),
            still=lambda: time.monotonic() < self._give_up_at,
        )
        self._noisy = MisbehavingMerchant(stack, self._sandbox, client, seed=str(seed), counts=self._counts)
        self._give_up_at = 0.0
        self._numbers = count(1)
        self._seen = 0
        self._answered: dict[str, float] = {}

    async def run(self) -> Verdict:
        """Measure every phase and return what came of it."""
        await self._customers.script()
        await self._sandbox.behave(model_latency_seconds=0.2)
        await self._noisy.open_shop()
        await self._measure("warm-up", nullcontext(), seconds=WARM_UP / CUSTOMERS_PER_SECOND)
        phases = [await self._measure(UNDISTURBED, nullcontext())]
        for trouble in self._troubles:
            phases.append(await self._measure(trouble, self._noisy.in_trouble(trouble), head_start=HEAD_START))
            await self._rest()
        return Verdict(self._seed, phases, +self._counts)

    async def _measure(
        self,
        trouble: str,
        during: AbstractAsyncContextManager[None],
        *,
        head_start: float = 0.0,
        seconds: float | None = None,
    ) -> Phase:
        """Let customers write at a steady pace while the trouble lasts, and wait for the answers to them."""
        said: list[Say] = []
        seconds = seconds or self._seconds
        self._give_up_at = time.monotonic() + head_start + seconds + ANSWERED_WITHIN
        async with during:
            await asyncio.sleep(head_start)
            async with asyncio.TaskGroup() as group:
                for _ in range(round(seconds * CUSTOMERS_PER_SECOND)):
                    say = Say(next(self._numbers), 1)
                    said.append(say)
                    group.create_task(self._customers.deliver(Webhook(0.0, (say,))))
                    await asyncio.sleep(1.0 / CUSTOMERS_PER_SECOND)
            waiting = {self._customers.sent.said[say.tag].contact for say in said}
            while waiting - self._answered.keys() and time.monotonic() < self._give_up_at:
                await asyncio.sleep(LOOK_SECONDS)
                await self._look()
        phase = Phase(trouble, tuple(self._answer_to(say) for say in said))
        self._show(f"{trouble}: {len(said)} customers, {phase.unanswered} not answered")
        return phase

    async def _look(self) -> None:
        """Note the first thing that a platform took for each contact since the last look."""
        async for entry in self._sandbox.whole_journal(self._seen):
            self._seen = max(self._seen, entry["number"])
            for one in taken([entry]):
                if one.kind != "notification":
                    self._answered.setdefault(one.contact, one.time)

    def _answer_to(self, say: Say) -> FirstAnswer:
        said = self._customers.sent.said[say.tag]
        return FirstAnswer(said.contact, said.sent_at, self._answered.get(said.contact))

    async def _rest(self) -> None:
        """Wait until what the trouble left behind is done, so that the next one is measured alone."""
        give_up, quiet, waiting = time.monotonic() + REST_WITHIN, 0, 0
        while quiet < LOOKS:
            try:
                waiting = (await self._kafka.backlog()).waiting
            except (KafkaError, OSError):
                waiting = 1
            quiet = 0 if waiting else quiet + 1
            if time.monotonic() > give_up:
                self._show(f"{waiting} records still wait after {REST_WITHIN:.0f} s")
                return
            await asyncio.sleep(LOOK_SECONDS)


async def measure(
    stack: Stack, *, seed: int, troubles: Sequence[str], seconds: float, show: Show, noise: float = NOISE_SECONDS
) -> Verdict:
    """Measure on a running stack."""
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20)
    async with httpx2.AsyncClient(trust_env=False, limits=limits) as client:
        tenants = Tenants(stack, client, seed=seed, troubles=troubles, seconds=seconds, show=show)
        return replace(await tenants.run(), noise=noise)


def main(given: Sequence[str] | None = None) -> int:
    """Run on a stack of its own; 1 when a trouble delayed the other merchant."""
    parser = argparse.ArgumentParser(
        prog="tenants.py", description="One merchant gets into trouble; another merchant's customers are timed."
    )
    parser.add_argument("troubles", nargs="*", help=f"some of {', '.join(TROUBLES)}; all without any")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each phase, 3 to 600")
    parser.add_argument("--seed", type=int, help="repeats a run; without it one is drawn and printed")
    chosen = parser.parse_args(given)
    try:
        troubles = known(chosen.troubles or TROUBLES)
    except ValueError as error:
        parser.error(str(error))
    if not 3.0 <= chosen.seconds <= 600.0:
        parser.error(f"--seconds {chosen.seconds}: give 3 to 600")
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    home = Path(tempfile.mkdtemp(prefix="jawab-tenants-"))
    with Stack(home, settings=TENANT_SETTINGS, sandbox={"SANDBOX_JOURNAL_LIMIT": str(JOURNAL_LIMIT)}) as stack:
        verdict = asyncio.run(
            measure(
                stack, seed=seed, troubles=troubles, seconds=chosen.seconds, show=lambda line: print_line(f"  … {line}")
            )
        )
    for line in verdict.lines():
        print_line(line)
    if verdict.delays:
        print_line(f"logs: {home}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


def print_line(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
