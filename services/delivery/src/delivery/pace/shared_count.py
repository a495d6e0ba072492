"""Counts calls where every replica counts them: in Redis or Valkey, through the connection that `limits` makes.

The window is the one of `allowance`, kept in one sorted set a meter: a call stands in it until the score's moment, by
the server's own clock. `limits`' three strategies are not used: its fixed window lets twice the limit pass around a
border, its sliding window estimates, and its moving window is exact only for the moments of leave, by clients' clocks,
and cannot take a call back that was not made (docs/decisions/0010).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limits.storage import storage_from_string

from delivery.pace.rate_limits import Meter

SCHEMES = ("redis://", "rediss://", "valkey://", "valkeys://")
PREFIX = "jawab:pace"
LEASE_SECONDS = 60.0
"""How much longer than its window a call counts whose end is never told: its replica died."""

MOST_CONNECTIONS = 16
LOST = -2

TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[4] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[4]) then
  return -2
end
for i = 5, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], now + (tonumber(ARGV[i + 1]) or lease), ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local free = redis.call('ZCARD', KEYS[1]) < most
if free then
  redis.call('ZADD', KEYS[1], now + lease, ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], lease)
if free then
  return -1
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(math.floor((first[2] or now) - now), 0)
"""
"""Takes a place in the window for the call named in ARGV[3], after adding those named behind ARGV[4]. Returns -1, or in
how many milliseconds the first place may be free; -2, having done nothing, where the call in ARGV[4] is missing."""

END = """
local time = redis.call('TIME')
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
end
"""
"""Lets the call named in ARGV[1] count for ARGV[2] milliseconds from now."""


class CountAway(Exception):
    """The shared count did not answer. The message is an error's class."""


class CountLost(Exception):
    """The shared count answers, but has forgotten calls that still count: it was emptied."""


@dataclass(frozen=True)
class Place:
    """A call's place in the shared window of a meter."""

    meter: Meter
    name: str

    @property
    def key(self) -> str:
        """The key of the window."""
        return f"{PREFIX}:{self.meter.name}:{self.meter.who}"


class SharedCount:
    """Counts calls in Redis or Valkey. Every method raises CountAway where it does not answer in time."""

    def __init__(self, url: str, *, timeout: float = 0.5) -> None:
        """Take a URL with one of the `SCHEMES`; nothing is connected yet."""
        options: Mapping[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        storage: Any = storage_from_string(f"async+{url}", implementation="valkey", **options)
        self._errors: tuple[type[Exception], ...] = (*_tuple(storage.base_exceptions), OSError, TimeoutError)
        self._timeout = timeout
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._client: Any = storage.bridge.get_connection()
        self._take: Any = self._client.register_script(TAKE)
        self._end: Any = self._client.register_script(END)

    async def take(
        self,
        place: Place,
        *,
        calls: int,
        cooling: float,
        also: Mapping[Place, float | None] | None = None,
        witness: Place | None = None,
    ) -> float | None:
        """Count a call; None where it may be made, else the seconds until there may be room.

        `also` are calls that the count may not know, made while it was away, with the seconds for which they still
        count: None for those under way. `witness` is one that it must know: raises CountLost where it does not.
        """
        known = [word for one, left in (also or {}).items() for word in (one.name, "" if left is None else _ms(left))]
        lease = _ms(cooling + LEASE_SECONDS)
        must_know = witness.name if witness is not None else ""
        waits = await self._ask(self._take(keys=[place.key], args=[calls, lease, place.name, must_know, *known]))
        if int(waits) == LOST:
            raise CountLost
        return None if int(waits) < 0 else int(waits) / 1000

    async def end(self, place: Place, *, cooling: float) -> None:
        """Note that a call ended: it counts for `cooling` seconds from now."""
        await self._ask(self._end(keys=[place.key], args=[place.name, _ms(cooling)]))

    async def give_back(self, place: Place) -> None:
        """Note that a call was not made."""
        await self._ask(self._client.zrem(place.key, place.name))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _ask(self, question: Any) -> Any:
        try:
            async with self._connections, asyncio.timeout(self._timeout):
                return await question
        except self._errors as error:
            raise CountAway(type(error).__name__) from error


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _tuple(errors: Any) -> tuple[type[Exception], ...]:
    return errors if isinstance(errors, tuple) else (errors,)
