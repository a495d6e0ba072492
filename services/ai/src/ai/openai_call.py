"""One call to OpenAI's API, whichever endpoint: behind its breaker, inside its time, every failure a known reason."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from ai.completion import ModelFailed, Reason
from ai.llm.shared_breaker import SharedBreaker
from ai.openai_errors import NOT_WELL, PASSING, failure_of, is_of_connection
from common.breaker import BreakerOpen

TRIES = 2
PAUSE_SECONDS = 0.3
SHORTEST_TRY = 1.0
"""Seconds below which another try is not worth beginning."""

T = TypeVar("T")


async def call(
    breaker: SharedBreaker,
    ask: Callable[[], Awaitable[T]],
    *,
    seconds: float,
    told: Callable[[str, float], None],
    owner: str = "",
) -> T:
    """Return what `ask` returns, which has `seconds` for it; `told` gets "ok" or the reason, and how long it took.

    `owner` is the merchant or account whose requests these are. Raises ModelFailed, and nothing else.
    """
    try:
        permit = breaker.ask(owner)
    except BreakerOpen as held_back:
        raise ModelFailed("held_back", after=held_back.after) from None
    started = time.monotonic()
    result: Literal["ok"] | Reason | None = "ok"
    by_connection = False
    try:
        async with asyncio.timeout(seconds):
            return await ask()
    except ModelFailed as failure:
        result = failure.reason
        raise
    except asyncio.CancelledError:
        permit.withdrawn()
        result = None  # nobody knows how it would have ended
        raise
    except Exception as error:
        failed = failure_of(error)
        result, by_connection = failed.reason, is_of_connection(error)
        raise failed from error
    finally:
        if result is not None:
            if result in NOT_WELL:
                permit.failed(by_connection=by_connection)
            else:
                permit.worked()
            told(result, time.monotonic() - started)


async def paused(failure: ModelFailed, *, attempt: int, ends_at: float) -> bool:
    """Wait before another try where one may help and there is time; False, at once, where it is not worth it.

    `ends_at` is when all tries have to be over, by `time.monotonic`.
    """
    pause = failure.after if failure.after is not None else PAUSE_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 jitter is no secret
    if failure.reason not in PASSING or attempt >= TRIES or ends_at - time.monotonic() - pause < SHORTEST_TRY:
        return False
    await asyncio.sleep(pause)
    return True
