"""What a handler can ask and wait for while it holds a record: what is behind it, another lane, the read barrier."""

import asyncio
import contextlib
from collections import defaultdict

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import IllegalStateError
from consumption import consuming, create, event, produce, until
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.events.interactions import MessageReceived
from common.kafka.barrier import KafkaReadBarrier
from common.kafka.broker import kafka_broker
from common.kafka.hold import OwnershipLost, hold, positions
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka


async def test_a_handler_sees_what_is_behind_its_record_and_can_wait_for_it(settings, topic):
    seen: dict[str, list[bool]] = defaultdict(list)

    async def handler(one: MessageReceived) -> None:
        def mine(later: MessageReceived) -> bool:
            return later.data.contact_id == one.partitionkey

        if one.id == "c0:2":
            seen[one.id].append(await hold().later_within(mine, 20.0))
        elif one.id == "c0:3":
            seen[one.id].append(await hold().later_within(mine, 0.05))
        else:
            seen[one.id].append(hold().later(mine))

    await produce(settings, topic, [event("c0", 0), event("c1", 0), event("c0", 1), event("c0", 2)])
    async with consuming(settings, topic, handler):
        await until(lambda: "c0:1" in seen)
        await produce(settings, topic, [event("c0", 3)])
        await until(lambda: seen["c0:3"] != [])
    assert seen == {"c0:0": [True], "c1:0": [False], "c0:1": [True], "c0:2": [True], "c0:3": [False]}


async def test_waiting_for_a_later_record_takes_no_place_from_those_who_work(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, max_working=1, drain_timeout=5)
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey.startswith("waits"):
            await hold().later_within(lambda _: True, 3600)
        handled.append(one.id)

    await produce(settings, topic, [*(event(f"waits{n}", 0) for n in range(20)), event("works", 0)])
    async with consuming(settings, topic, handler):
        await until(lambda: handled == ["works:0"])


async def test_waiting_for_ones_turn_takes_no_place_and_ends_with_a_drain(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, max_working=1, drain_timeout=5)
    handled: list[str] = []
    turns: list[asyncio.Future[str]] = []
    refused: list[str] = []

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey.startswith("waits"):
            turns.append(asyncio.get_running_loop().create_future())
            try:
                handled.append(await hold().wait_for(turns[-1]))
            except OwnershipLost:
                refused.append(one.id)
                raise
        handled.append(one.id)

    await produce(settings, topic, [*(event(f"waits{n}", 0) for n in range(3)), event("works", 0)])
    async with consuming(settings, topic, handler):
        await until(lambda: handled == ["works:0"] and len(turns) == 3)
        turns[0].set_result("its turn")
        await until(lambda: len(handled) == 3)
    assert handled[:2] == ["works:0", "its turn"]
    assert len(refused) == 2
    assert [turn.cancelled() for turn in turns] == [False, True, True]


async def test_waiting_for_another_lane_takes_no_place_from_what_is_in_it(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, max_working=1, drain_timeout=5)
    handled: list[str] = []
    began = asyncio.Event()

    async def handler(one: MessageReceived) -> None:
        if one.id == "waits:0":
            began.set()
            await until(lambda: not subscriber._lanes.rests(b"works"))
            await subscriber.at_rest(b"works", 20)
        handled.append(one.id)

    async with consuming(settings, topic, handler) as subscriber:
        await produce(settings, topic, [event("waits", 0)])
        async with asyncio.timeout(20):
            await began.wait()
        await produce(settings, topic, [event("works", 0)])
        await until(lambda: len(handled) == 2)
    assert handled == ["works:0", "waits:0"]


async def test_the_barrier_tells_how_far_the_log_of_each_conversation_reaches(kafka, settings, topic):
    places: dict[str, tuple[int, int]] = {}
    ended = [event(f"c{number}", 0) for number in range(12)]

    async def handler(one: MessageReceived) -> None:
        (place,) = positions()
        places[one.partitionkey] = (place.partition, place.offset)

    await produce(settings, topic, ended)
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(places) == len(ended))
        barrier = KafkaReadBarrier(subscriber, settings, topics=[topic], lane=str)
        try:
            ends = {key: await barrier.log_end(key) for key in places}
        finally:
            await barrier.close()
    for key, (partition, offset) in places.items():
        assert ends[key].partition == partition
        assert ends[key].offset > offset
    reached = {end.partition: end.offset for end in ends.values()}
    assert sum(reached.values()) == len(ended)


async def test_without_partitions_no_end_of_the_log_is_known(settings):
    class Away:
        def partitions_of(self, topic: str) -> int:
            raise IllegalStateError(topic)

    barrier = KafkaReadBarrier(Away(), settings, topics=["t"], lane=str)
    assert await barrier.log_end("c0") is None


async def test_the_barrier_waits_for_what_was_written_before_it_was_asked(kafka, settings, topic):
    observations, effects = f"{topic}-seen", f"{topic}-done"
    await create(kafka, observations, effects)
    answers: list[bool] = []
    asked, go_on = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    def lane(record: ConsumerRecord) -> tuple[str, bytes]:
        return ("seen" if record.topic == observations else "done", record.key)

    async def handler(one: MessageReceived) -> None:
        if one.data.mid != "1":
            seen.append(one.id)
            return
        async with barrier.watching(one.partitionkey) as watch:
            asked.set()
            await go_on.wait()
            answers.append(await watch.undisturbed())
        async with barrier.watching(one.partitionkey) as watch:
            answers.append(await watch.undisturbed())

    broker = kafka_broker(settings, client_id="barrier")
    subscriber = key_ordered_subscriber(
        broker,
        observations,
        effects,
        group=f"group-{topic}",
        handler=handler,
        settings=settings,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        lane_of=lane,
    )
    barrier = KafkaReadBarrier(subscriber, settings, topics=[observations], lane=lambda key: ("seen", key.encode()))
    link = KafkaLink(broker, [observations, effects])
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(barrier.close)
        await stack.enter_async_context(link.running())
        await produce(settings, effects, [event("c0", 1)])
        async with asyncio.timeout(30):
            await asked.wait()
        await produce(settings, observations, [event("c0", 2), event("other", 3)])
        go_on.set()
        await until(lambda: len(answers) == 2)
    assert answers == [False, True]
    assert "c0:2" in seen
