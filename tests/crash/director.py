"""Carries a plan out on a running stack, in time, and waits until all has come to rest. Every wait has a bound."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import httpx2
from aiokafka.errors import KafkaError
from breakage import Breakage
from customers import Customers
from evidence import KafkaEvidence, gather
from history import History
from log_breakage import LogBreakage
from plan import Plan
from progress import progress
from steps import ClockSkew
from tenant_troubles import MisbehavingMerchant

from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack

SETTINGS: Mapping[str, str] = {
    "KAFKA_SESSION_TIMEOUT": "6",
    "KAFKA_REQUEST_TIMEOUT": "5",
    "KAFKA_PUBLISH_TIMEOUT": "5",
    "KAFKA_DRAIN_TIMEOUT": "5",
    "MONGODB_TIMEOUT": "5",
    "OPENAI_TIMEOUT": "5",
    "DELIVERY_CALL_TIMEOUT": "3",
    "DELIVERY_SETTLE": "1.5",
    "DELIVERY_UNKNOWN_DEADLINE": "20",
    "INGEST_BAD_SIGNATURES_PER_MINUTE": "1000",
}
"""Shorter waits than usual, so that what a fault sets off is over within the run."""
GRACE_SECONDS = 3.0 + 1.5 + 0.8 + 2.0
"""A call's time-out, the time in which it must begin, the slowest platform, and what a busy machine adds."""
SETTLE_WITHIN = 150.0
PACE_OF_TROUBLES = 0.25
"""How fast the merchant in trouble is, beside `make tenants`: everything else goes wrong, too."""
TELL_SECONDS = 5.0
LOOK_SECONDS = 1.0
QUIET_LOOKS = 3
FAULTS_END_WITHIN = 60.0
GATHER_TRIES = 4

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ran:
    """What a run came to: the history to judge, what was done, and when."""

    history: History
    counts: Counter[str]
    log: tuple[str, ...]


class Director:
    """One run. `settle_within` is how many seconds everything may take to come to rest after the end."""

    def __init__(self, stack: Stack, plan: Plan, *, tell: Tell, settle_within: float = SETTLE_WITHIN) -> None:
        if stack.kafka is None or stack.mongo is None:
            raise ValueError("stack: its Kafka and MongoDB must be its own, or they cannot be killed")
        self._stack = stack
        self._mongo_url = stack.mongo.url
        self._kafka = KafkaEvidence(stack.kafka.direct_bootstrap)
        self._plan = plan
        self._tell = tell
        self._settle_within = settle_within
        self._begun, self._started = time.monotonic(), time.time()
        self._counts: Counter[str] = Counter()
        self._logs = LogBreakage(stack.kafka.direct_bootstrap, self._kafka, self._counts)
        self._log: list[str] = []
        self._resting = False

    async def run(self) -> Ran:
        """Carry the plan out, wait until all has come to rest, and return what is known then."""
        environment = self._stack.environment()
        limits = httpx2.Limits(max_connections=200, max_keepalive_connections=50)
        # Customers whose webhooks hang must not keep the director from mending what hangs them.
        async with (
            httpx2.AsyncClient(trust_env=False, limits=limits) as posting,
            # A connection kept idle may be closed by the other side just as it is used again.
            httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)) as client,
        ):
            sandbox = SandboxClient(self._stack.url("sandbox"), client)
            simulator = Simulator(
                seed=f"{self._plan.seed} {time.time_ns()}",
                account=environment["INSTAGRAM_PAGE_ID"],
                now=self._platform_time,
            )
            customers = Customers(
                simulator,
                sandbox,
                posting,
                url=f"{self._stack.url('ingest')}/webhooks/instagram",
                secret=environment["META_APP_SECRET"],
                counts=self._counts,
                still=lambda: self._elapsed() < self._plan.quiet_at + self._settle_within / 2,
            )
            merchant = MisbehavingMerchant(
                self._stack, sandbox, client, seed=str(self._plan.seed), pace=PACE_OF_TROUBLES, counts=self._counts
            )
            breakage = Breakage(
                self._stack,
                sandbox,
                client,
                customers,
                logs=self._logs,
                merchant=merchant,
                seed=self._plan.seed,
                counts=self._counts,
                note=self._note,
                sabotage=environment.get("JAWAB_FAILPOINT", ""),
            )
            await customers.script()
            await merchant.open_shop()
            self._begun, self._started = time.monotonic(), time.time()
            beside = [asyncio.create_task(breakage.keep_running()), asyncio.create_task(self._keep_telling(breakage))]
            try:
                await self._perform(customers, breakage)
                await self._come_to_rest(client)
                history = await self._gather(customers, sandbox)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                breakage.close()
        healed = self._started + self._plan.heal_at
        self._counts["replies while broken"] = sum(one.time < healed for one in history.taken)
        spread = Counter(int((one.time - self._started) // TELL_SECONDS) for one in history.taken)
        listed = " ".join(str(spread[number]) for number in range(max(spread, default=0) + 1))
        self._note(f"replies and notifications taken in each {TELL_SECONDS:g} s: {listed}")
        return Ran(history, +self._counts, tuple(self._log))

    async def _perform(self, customers: Customers, breakage: Breakage) -> None:
        async with asyncio.TaskGroup() as tasks:
            for webhook in self._plan.webhooks:
                tasks.create_task(self._at(webhook.at, partial(customers.deliver, webhook)))
            breaking = [
                tasks.create_task(self._at(fault.at, partial(breakage.carry_out, fault))) for fault in self._plan.faults
            ]
            tasks.create_task(self._at(self._plan.heal_at, partial(self._heal, breakage, breaking)))

    async def _at(self, at: float, act: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(max(0.0, at - self._elapsed()))
        await act()

    async def _heal(self, breakage: Breakage, breaking: list[asyncio.Task[None]]) -> None:
        if breaking:
            await asyncio.wait(breaking, timeout=FAULTS_END_WITHIN)
        await breakage.heal()

    async def _come_to_rest(self, client: httpx2.AsyncClient) -> None:
        """Wait until every group has committed everything and nothing comes any more, at most `settle_within`."""
        begun, self._resting = self._elapsed(), True
        quiet, before = 0, ""
        while self._elapsed() - begun < self._settle_within:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with asyncio.timeout(10.0):
                    backlog = await self._kafka.backlog()
                    health = (await client.get(f"{self._stack.url('sandbox')}/health")).json()
            except (KafkaError, OSError, httpx2.HTTPError):
                continue
            now = f"{sum(backlog.ends.values())} {health['calls']}"
            busy = backlog.waiting or health["webhooks"]["waiting"] or now != before
            before = now
            quiet = 0 if busy else quiet + 1
            self._counts["records waiting"] = backlog.waiting
            if quiet >= QUIET_LOOKS:
                self._counts["seconds to rest"] = round(self._elapsed() - begun)
                return
        self._note(f"did not come to rest within {self._settle_within:g} s")

    async def _gather(self, customers: Customers, sandbox: SandboxClient) -> History:
        for _ in range(GATHER_TRIES - 1):
            try:
                return await self._gather_once(customers, sandbox)
            except (KafkaError, OSError) as error:
                self._note(f"Kafka could not be read: {error}")
        return await self._gather_once(customers, sandbox)

    async def _gather_once(self, customers: Customers, sandbox: SandboxClient) -> History:
        return await gather(
            customers.sent,
            self._kafka,
            sandbox,
            self._mongo_url,
            self._stack.home,
            grace=GRACE_SECONDS,
            foreign=self._logs.foreign,
            skew=max([0.0, *(abs(fault.ahead) for fault in self._plan.faults if isinstance(fault, ClockSkew))]),
        )

    def _platform_time(self) -> float:
        return time.time() + self._plan.platform_ahead

    async def _keep_telling(self, breakage: Breakage) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            line = progress(
                self._counts, self._elapsed(), self._plan.heal_at, resting=self._resting, down=breakage.down()
            )
            self._tell(line)

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _note(self, what: str) -> None:
        self._log.append(f"{self._elapsed():8.2f} s  {what}")
