"""Keeps the platform's clock known where nothing is sent: asks each API what time it is, and reports the difference.

Any answer of an API has a Date header, also a refusal, so a request without a token is enough. Raises nothing: a
platform that does not answer leaves its clock unknown after a while.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from common.clock import monotonic
from common.health import Unhealthy
from common.mongo import Database
from common.platform_clock import MAX_TRUSTED_OFFSET, PlatformClock, RemoteClock
from delivery.metrics import DeliveryMetrics
from delivery.platforms.calls import OutsideApi

log = structlog.get_logger("clock")

EVERY_SECONDS = 60.0
FIRST_SECONDS = 3.0
"""How long the first replies wait for the platform's clock."""


class ClockWatch:
    """Watches the clocks of others, by name: those of the outside APIs, and the database server's."""

    def __init__(
        self,
        *,
        clock: PlatformClock,
        apis: Sequence[OutsideApi],
        db: Database,
        metrics: DeliveryMetrics,
        max_offset: float,
    ) -> None:
        self._clock = clock
        self._database_clock = RemoteClock()
        self._remotes = {**{api.name: api.clock for api in apis}, "mongodb": self._database_clock}
        self._apis = apis
        self._db = db
        self._metrics = metrics
        self._max_offset = max_offset

    async def first_look(self) -> None:
        """Look before anything is sent: what is lost while the platform's clock is unknown is rarely proven absent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self.look()

    async def watch_regularly(self) -> None:
        """Look every minute."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 whoever watches runs beside what consumes, and must not end it
                log.warning("clock.watch_interrupted", error=type(error).__name__)

    async def look(self) -> None:
        """Ask everybody what time it is, and set the gauge."""
        await asyncio.gather(*(api.call("GET", "/", name="clock") for api in self._apis), self._ask_the_database())
        for name, remote in self._remotes.items():
            ours = self._clock.machine.now().timestamp()
            there = remote.at(monotonic(), ours)
            offset = float("nan") if there is None else ours - there
            self._metrics.clock_offset.labels(name).set(offset)
            if abs(offset) > MAX_TRUSTED_OFFSET:
                log.warning("clock.differs", peer=name, seconds=round(offset, 1))

    async def _ask_the_database(self) -> None:
        sent = monotonic()
        try:
            answer = await self._db.command("hello")
        except Exception as error:  # noqa: BLE001 the database's own check says what is wrong with it
            log.debug("clock.unknown", peer="mongodb", error=type(error).__name__)
            return
        if (moment := answer.get("localTime")) is not None:
            self._database_clock.observe_time(moment, sent, monotonic(), precision=0.001)

    async def check(self) -> None:
        """Raise Unhealthy where the machine's clock is further from the platform's than every tolerance."""
        offset = self._clock.offset
        if offset is not None and abs(offset) > self._max_offset:
            raise Unhealthy(
                f"this machine's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the platform's",
                "switch on time synchronisation (NTP); see docs/runbooks/JawabClockOffset.md",
            )
