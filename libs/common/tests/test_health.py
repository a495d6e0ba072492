"""Probes answer, whatever a dependency does."""

import asyncio

from common.health import Health, Unhealthy


async def fine() -> None:
    return None


async def test_everything_well():
    well, body = await Health("ai", {"kafka": fine, "mongo": fine}).report()
    assert well
    assert body == {"status": "ok", "service": "ai", "checks": {"kafka": {"status": "ok"}, "mongo": {"status": "ok"}}}


async def test_one_failing_check_says_what_is_wrong_and_how_to_mend_it():
    async def away() -> None:
        raise Unhealthy("MongoDB cannot be reached", "start it")

    well, body = await Health("ai", {"kafka": fine, "mongo": away}).report()
    assert not well
    assert body["checks"]["mongo"] == {"status": "failing", "reason": "MongoDB cannot be reached", "fix": "start it"}


async def test_a_check_that_hangs_is_failing_and_not_waited_for():
    async def hangs() -> None:
        await asyncio.Event().wait()

    well, body = await Health("ai", {"kafka": hangs}, timeout=0.05).report()
    assert not well
    assert body["checks"]["kafka"]["reason"] == "no answer within 0.05 s"


async def test_a_drivers_exception_is_told_by_class_only():
    async def broken() -> None:
        raise ValueError("mongodb://user:secret@host")

    _, body = await Health("ai", {"mongo": broken}).report()
    assert body["checks"]["mongo"]["reason"] == "ValueError"


async def test_probes_in_a_burst_ask_once():
    asked = 0

    async def counting() -> None:
        nonlocal asked
        asked += 1

    health = Health("ai", {"kafka": counting}, keep=60)
    await asyncio.gather(*(health.report() for _ in range(50)))
    assert asked == 1
