"""What happens to records when replicas come, go, hang or are cut off from Kafka."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError
from consumption import committed, consuming, event, produce, until, until_committed

from common.errors import Permanent
from common.events.interactions import MessageReceived
from common.kafka.hold import hold, refuse_if_lost
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka


async def test_replicas_that_come_and_go_lose_nothing_and_keep_the_order(settings, topic):
    events = [event(f"c{key}", number) for number in range(40) for key in range(20)]
    first_time: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()

    async def handler(one: MessageReceived) -> None:
        await asyncio.sleep(0.004)
        if one.id not in seen:
            seen.add(one.id)
            first_time[one.partitionkey].append(int(one.data.mid))

    await produce(settings, topic, events)
    async with consuming(settings, topic, handler):
        await until(lambda: len(seen) > 50)
        async with consuming(settings, topic, handler):
            await until(lambda: len(seen) > 300)
        await until(lambda: len(seen) == len(events))
    assert all(numbers == list(range(40)) for numbers in first_time.values())


async def test_stopping_finishes_what_is_being_handled_and_commits_it(settings, topic):
    started, finished = asyncio.Event(), []

    async def handler(one: MessageReceived) -> None:
        started.set()
        await asyncio.sleep(0.3)
        finished.append(one.id)

    await produce(settings, topic, [event("c0", 0)])
    async with consuming(settings, topic, handler):
        async with asyncio.timeout(20):
            await started.wait()
    assert finished == ["c0:0"]
    assert sum((await committed(settings, topic)).values()) == 1


async def test_what_is_still_at_work_after_the_drain_is_fenced(kafka, topic):
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, drain_timeout=0.2
    )
    began, go_on = asyncio.Event(), asyncio.Event()
    owned: list[bool] = []
    effects: list[str] = []

    async def slow(one: MessageReceived) -> None:
        owned.append(hold().owned)
        began.set()
        await go_on.wait()
        owned.append(hold().owned)
        refuse_if_lost()
        effects.append("the old owner")

    async def successor(one: MessageReceived) -> None:
        refuse_if_lost()
        effects.append("its successor")

    await produce(settings, topic, [event("c0", 0)])
    async with consuming(settings, topic, slow) as subscriber:
        async with asyncio.timeout(20):
            await began.wait()
        await subscriber.revoke()
        go_on.set()
        await until(lambda: len(owned) == 2)
    async with consuming(settings, topic, successor):
        await until(lambda: effects != [])
    assert owned == [True, False]
    assert effects == ["its successor"]


async def test_what_waits_for_a_place_is_not_begun_after_its_partition_was_given_away(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, max_working=1, drain_timeout=0.2)
    began, go_on = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        began.set()
        await go_on.wait()
        handled.append(one.id)

    await produce(settings, topic, [event(f"c{n}", 0) for n in range(8)])
    async with consuming(settings, topic, handler) as subscriber:
        async with asyncio.timeout(20):
            await began.wait()
        await until(lambda: len(subscriber._lanes) == 8)
        await subscriber.revoke()
        go_on.set()
        await until(lambda: not subscriber._workers)
    assert len(handled) == 1


async def test_a_record_that_was_given_away_is_not_buried(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, drain_timeout=0.2)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def handler(one: MessageReceived) -> None:
        began.set()
        await go_on.wait()
        raise Permanent("refused for good")

    await produce(settings, topic, [event("c0", 0)])
    async with consuming(settings, topic, handler) as subscriber:
        async with asyncio.timeout(20):
            await began.wait()
        await subscriber.revoke()
        go_on.set()
        await until(lambda: not subscriber._workers)
        assert subscriber._metrics.dead_letters.labels(topic)._value.get() == 0


async def test_nothing_begins_while_kafka_has_not_heard_of_us_for_a_session(kafka, settings, topic):
    owned: list[bool] = []
    go_on = asyncio.Event()

    async def handler(one: MessageReceived) -> None:
        while not go_on.is_set():
            owned.append(hold().owned)
            await asyncio.sleep(0.05)

    await produce(settings, topic, [event("c0", 0)])
    async with consuming(settings, topic, handler):
        await until(lambda: owned != [])
        await asyncio.to_thread(kafka.pause)
        try:
            await until(lambda: not owned[-1])
        finally:
            await asyncio.to_thread(kafka.resume)
        await until(lambda: owned[-1])
        go_on.set()
    assert owned[0]


async def test_a_broker_that_is_killed_and_comes_back_is_survived_without_a_human(kafka, settings, topic):
    first_time: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()

    async def handler(one: MessageReceived) -> None:
        await asyncio.sleep(0.01)
        if one.id not in seen:
            seen.add(one.id)
            first_time[one.partitionkey].append(int(one.data.mid))

    await produce(settings, topic, [event(f"c{key}", number) for number in range(10) for key in range(20)])
    async with consuming(settings, topic, handler):
        await until(lambda: len(seen) > 20)
        await asyncio.to_thread(kafka.kill)
        await asyncio.to_thread(kafka.start)
        await produce(settings, topic, [event(f"c{key}", 10) for key in range(20)])
        await until(lambda: len(seen) == 220, within=60)
        await until_committed(settings, topic, 220)
    assert all(numbers == list(range(11)) for numbers in first_time.values())


async def test_a_client_whose_metadata_is_never_refreshed_any_more_comes_back_by_itself(kafka, topic, monkeypatch):
    monkeypatch.setattr("common.kafka.stall.PATIENCE_SECONDS", 1.0)
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05)
    handled: set[str] = set()

    async def handler(one: MessageReceived) -> None:
        refuse_if_lost()
        handled.add(one.id)

    async with consuming(settings, topic, handler) as subscriber:
        client = subscriber.consumer._client
        client._sync_task.cancel()
        client._md_update_fut = asyncio.get_running_loop().create_future()  # nobody will ever set it
        subscriber.consumer._coordinator.coordinator_dead()
        client.coordinator_lookup, found = _unavailable(client), client.coordinator_lookup
        await until(lambda: not subscriber.lease_valid)
        client.coordinator_lookup = found
        await produce(settings, topic, [event("a", 0)])
        await until(lambda: len(handled) == 1, within=20)


def _unavailable(client: Any) -> Callable[..., Awaitable[int]]:
    async def lookup(*_: object) -> int:
        raise GroupCoordinatorNotAvailableError

    return lookup
