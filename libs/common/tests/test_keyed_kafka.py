"""Key-ordered consumption on real Apache Kafka: order, commits, dead letters, revocation, shutdown."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.partitioner import murmur2
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.errors import Permanent, Retryable
from common.events.interactions import Message, MessageReceived
from common.health import Unhealthy
from common.kafka import dead_letters
from common.kafka.barrier import KafkaReadBarrier
from common.kafka.broker import kafka_broker
from common.kafka.burial import Buried
from common.kafka.dead_letter_limit import FEWEST
from common.kafka.hold import OwnershipLost, hold, refuse_if_lost
from common.kafka.keyed import KeyOrderedSubscriber
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.retry import RetryPolicy
from common.kafka.subscription import key_ordered_subscriber
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka

_names = count(1)
QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.05, longest_age=30, bug_attempts=3)


def event(conversation: str, number: int) -> MessageReceived:
    return MessageReceived(
        id=f"{conversation}:{number}",
        source="/test",
        subject=conversation,
        partitionkey=conversation,
        time=datetime.now(UTC),
        data=Message(account_id="1", contact_id=conversation, mid=str(number)),
    )


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, drain_timeout=5, request_timeout=5
    )


async def create(kafka, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1 if name.endswith(".dlq") else 4, 1) for name in names])
    finally:
        await admin.close()


@pytest.fixture
async def topic(kafka) -> str:
    name = f"keyed-{next(_names)}"
    await create(kafka, name, f"{name}.dlq")
    return name


def partition_of(key: str) -> int:
    return (murmur2(key.encode()) & 0x7FFFFFFF) % 4


@asynccontextmanager
async def consuming(
    settings: KafkaSettings,
    topic: str,
    handler: Callable[[MessageReceived], Awaitable[None]],
    retry: RetryPolicy = QUICK,
    buried: Buried | None = None,
) -> AsyncIterator[KeyOrderedSubscriber]:
    broker = kafka_broker(settings, client_id="test")
    subscriber = key_ordered_subscriber(
        broker,
        topic,
        group=f"group-{topic}",
        handler=handler,
        settings=settings,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        retry=retry,
        buried=buried,
    )
    link = KafkaLink(broker, [topic])
    async with link.running():
        async with asyncio.timeout(30):
            await link.started.wait()
        yield subscriber


async def produce(settings: KafkaSettings, topic: str, events: list[MessageReceived], raw: bytes | None = None) -> None:
    broker = kafka_broker(settings, client_id="producer")
    await broker.connect()
    try:
        for one in events:
            await broker.publish(one, topic, key=one.partitionkey.encode(), no_confirm=True)
        if raw is not None:
            await broker.publish(raw, topic, key=b"poison")
        await broker.config.producer.flush()
    finally:
        await broker.stop()


async def committed(settings: KafkaSettings, topic: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=f"group-{topic}")
    await consumer.start()
    try:
        found = {}
        for partition in range(4):
            offset = await consumer.committed(TopicPartition(topic, partition))
            if offset is not None:
                found[partition] = offset
        return found
    finally:
        await consumer.stop()


async def until_committed(settings: KafkaSettings, topic: str, number: int) -> None:
    async with asyncio.timeout(30):
        while sum((await committed(settings, topic)).values()) < number:
            await asyncio.sleep(0.05)


async def problem(link: KafkaLink) -> str:
    try:
        await link.check()
    except Unhealthy as error:
        return error.reason
    return ""


async def dead(settings: KafkaSettings, topic: str) -> list[tuple[bytes | None, dict[str, str]]]:
    consumer = AIOKafkaConsumer(
        f"{topic}.dlq", bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        batches = await consumer.getmany(timeout_ms=5000)
        return [(r.value, {k: v.decode() for k, v in r.headers}) for batch in batches.values() for r in batch]
    finally:
        await consumer.stop()


async def test_records_of_a_key_are_handled_in_order_and_other_keys_at_the_same_time(settings, topic):
    events = [event(f"c{key}", number) for number in range(20) for key in range(15)]
    handled: dict[str, list[int]] = defaultdict(list)
    running = highest = 0

    async def handler(one: MessageReceived) -> None:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(random.uniform(0, 0.01))
        handled[one.partitionkey].append(int(one.data.mid))
        running -= 1

    await produce(settings, topic, events)
    async with consuming(settings, topic, handler):
        await until(lambda: sum(map(len, handled.values())) == len(events))
    assert all(numbers == list(range(20)) for numbers in handled.values())
    assert highest > 5
    assert sum((await committed(settings, topic)).values()) == len(events)


async def test_a_failing_record_holds_its_own_conversation_and_no_other(settings, topic):
    handled: list[str] = []
    mended = asyncio.Event()

    async def handler(one: MessageReceived) -> None:
        if one.id == "stuck:0" and not mended.is_set():
            raise Retryable("busy", after=0.02)
        handled.append(one.id)

    await produce(settings, topic, [event("stuck", 0), event("stuck", 1), *(event(f"c{n}", 0) for n in range(20))])
    async with consuming(settings, topic, handler):
        await until(lambda: len(handled) == 20)
        assert not any(one.startswith("stuck") for one in handled)
        mended.set()
        await until(lambda: len(handled) == 22)
    assert handled[-2:] == ["stuck:0", "stuck:1"]


async def test_many_records_that_wait_for_a_retry_leave_room_for_the_others(kafka, topic):
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_working=4)
    waiting, handled = set(), []

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey.startswith("stuck"):
            waiting.add(one.id)
            raise Retryable("busy", after=60)
        handled.append(one.id)

    await produce(settings, topic, [event(f"stuck{n}", 0) for n in range(200)])
    async with consuming(settings, topic, handler):
        await until(lambda: len(waiting) == 200)
        await produce(settings, topic, [event(f"well{n}", 0) for n in range(20)])
        await until(lambda: len(handled) == 20)


async def test_nothing_is_committed_past_a_record_that_is_not_done_and_a_restart_handles_it(settings, topic):
    handled: list[str] = []

    async def stuck(one: MessageReceived) -> None:
        if one.id == "c0:0":
            raise Retryable("for ever", after=30)
        handled.append(one.id)

    await produce(settings, topic, [event("c0", number) for number in range(3)] + [event("c1", n) for n in range(5)])
    async with consuming(settings, topic, stuck):
        await until(lambda: len(handled) == 5)
    before = await committed(settings, topic)
    again: list[str] = []

    async def well(one: MessageReceived) -> None:
        again.append(one.id)

    async with consuming(settings, topic, well):
        await until(lambda: {"c0:0", "c0:1", "c0:2"} <= set(again))
    assert sum(before.values()) <= 5
    assert again[:3] == ["c0:0", "c0:1", "c0:2"] or again.index("c0:0") < again.index("c0:1") < again.index("c0:2")


async def test_poison_goes_to_the_dead_letters_unchanged_with_its_story_and_the_rest_goes_on(settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        if one.id == "c1:0":
            raise Permanent("refused for good")
        if one.id == "c2:0":
            raise KeyError("a bug")
        handled.append(one.id)

    poison = b'{"type": "what is this", "text": "private"}'
    await produce(settings, topic, [event("c1", 0), event("c1", 1), event("c2", 0), event("c3", 0)], raw=poison)
    async with consuming(settings, topic, handler):
        await until(lambda: set(handled) == {"c1:1", "c3:0"})
        found = []
        async with asyncio.timeout(20):
            while len(found) < 3:
                found = await dead(settings, topic)
    causes = {value: headers[dead_letters.CAUSE] for value, headers in found}
    assert causes[poison].startswith("not a valid event")
    assert "private" not in causes[poison]
    assert sorted(headers[dead_letters.CAUSE].split(":")[0] for _, headers in found) == sorted(
        ["failed 3 times", "not a valid event", "refused for good"]
    )
    for _, headers in found:
        assert headers[dead_letters.TOPIC] == topic
        assert headers[dead_letters.GROUP] == f"group-{topic}"
        assert headers[dead_letters.OFFSET].isdigit()
    assert sum((await committed(settings, topic)).values()) == 5


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


async def test_a_service_that_starts_before_kafka_connects_when_kafka_comes(kafka, settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await produce(settings, topic, [event("c0", 0)])
    await asyncio.to_thread(kafka.stop)
    try:
        broker = kafka_broker(settings, client_id="early")
        key_ordered_subscriber(
            broker,
            topic,
            group=f"group-{topic}",
            handler=handler,
            settings=settings,
            metrics=KafkaMetrics(CollectorRegistry()),
            clock=SystemClock(),
        )
        link = KafkaLink(broker, [topic])
        async with link.running():
            async with asyncio.timeout(30):
                while "cannot be reached" not in await problem(link):
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(kafka.start)
            await until(lambda: handled == ["c0:0"])
            await link.check()
    finally:
        if not kafka.running:
            await asyncio.to_thread(kafka.start)


async def test_a_producer_that_has_written_to_one_topic_still_sees_that_the_others_are_there(kafka, settings, topic):
    broker = kafka_broker(settings, client_id="one-topic")
    link = KafkaLink(broker, [topic, f"{topic}.dlq"])
    async with link.running():
        async with asyncio.timeout(30):
            await link.started.wait()
        await broker.publish(event("c0", 0), topic, key=b"c0")
        for _ in range(3):
            await link.check()


async def test_a_missing_topic_keeps_a_service_unready_and_is_named(kafka, settings):
    link = KafkaLink(kafka_broker(settings, client_id="no-topic"), ["nobody-made-this"])
    async with link.running(), asyncio.timeout(30):
        while "topics are missing: nobody-made-this" not in await problem(link):
            await asyncio.sleep(0.05)


async def test_what_was_done_beyond_a_stuck_record_is_not_done_again_after_a_crash(settings, topic):
    handled: list[str] = []

    async def stuck(one: MessageReceived) -> None:
        if one.id == "stuck:0":
            await asyncio.sleep(3600)
        handled.append(one.id)

    events = [event("stuck", 0), *(event(f"c{n}", number) for number in range(3) for n in range(40))]
    await produce(settings, topic, events)
    async with consuming(settings, topic, stuck) as subscriber:
        await until(lambda: len(handled) == 120)
        await subscriber.commit()
        subscriber._settings = settings.model_copy(update={"drain_timeout": 0.1})
    again: list[str] = []

    async def well(one: MessageReceived) -> None:
        again.append(one.id)

    async with consuming(settings, topic, well):
        await until(lambda: "stuck:0" in again)
        await until_committed(settings, topic, len(events))
    assert again == ["stuck:0"]


async def test_a_full_partition_is_paused_and_the_others_are_read_on(kafka, topic):
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_outstanding=40, drain_timeout=5
    )
    go_on, handled = asyncio.Event(), []

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey == "slow":
            await go_on.wait()
        handled.append(one.id)

    await produce(settings, topic, [event("slow", n) for n in range(300)] + [event(f"c{n}", 0) for n in range(300)])
    async with consuming(settings, topic, handler) as subscriber:
        slow_partition = partition_of("slow")
        await until(lambda: subscriber.consumer.paused() == {TopicPartition(topic, slow_partition)})
        others = sum(partition_of(f"c{n}") != slow_partition for n in range(300))
        await until(lambda: len(handled) >= others)
        assert subscriber._progress[TopicPartition(topic, slow_partition)].outstanding < 300
        go_on.set()
        await until(lambda: len(handled) == 600)
        await until(lambda: not subscriber.consumer.paused())
    assert [one for one in handled if one.startswith("slow")] == [f"slow:{n}" for n in range(300)]


async def test_a_partition_in_which_too_much_dies_is_stopped_and_a_restart_goes_on_where_it_was(settings, topic):
    async def bad_deploy(one: MessageReceived) -> None:
        raise Permanent("a bug")

    await produce(settings, topic, [event("one", n) for n in range(100)])
    async with consuming(settings, topic, bad_deploy) as subscriber:
        await until(lambda: len(subscriber._stopped) == 1)
        await until(lambda: subscriber._metrics.paused._value.get() == 1)
        buried = subscriber._metrics.dead_letters.labels(topic)._value.get()
    assert buried == FEWEST
    again: list[str] = []

    async def mended(one: MessageReceived) -> None:
        again.append(one.id)

    async with consuming(settings, topic, mended):
        await until(lambda: len(again) == 90)
    assert again == [f"one:{n}" for n in range(10, 100)]


async def test_a_record_that_dies_is_told_before_its_offset_moves(settings, topic):
    told: list[tuple[str, str]] = []

    async def handler(one: MessageReceived) -> None:
        raise Permanent("refused for good")

    async def buried(record: ConsumerRecord, cause: str) -> None:
        if not told:
            told.append(("first", ""))
            raise Retryable("not now", after=0.01)
        assert sum((await committed(settings, topic)).values()) == 0
        told.append((record.key.decode(), cause))

    await produce(settings, topic, [event("c0", 0)])
    async with consuming(settings, topic, handler, buried=buried):
        await until_committed(settings, topic, 1)
    assert told == [("first", ""), ("c0", "refused for good")]


async def test_a_handler_sees_what_is_behind_its_record_and_can_wait_for_it(settings, topic):
    seen: dict[str, list[bool]] = defaultdict(list)

    async def handler(one: MessageReceived) -> None:
        mine = lambda later: later.data.contact_id == one.partitionkey  # noqa: E731
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


async def test_an_intake_that_breaks_off_and_starts_again_loses_nothing(settings, topic):
    handled: list[str] = []
    go_on = asyncio.Event()

    async def handler(one: MessageReceived) -> None:
        await go_on.wait()
        handled.append(one.id)

    await produce(settings, topic, [event("a", n) for n in range(4)])
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(subscriber._lanes) == 1)
        take_in = subscriber._take_in

        def fails_once(*given: object) -> None:
            subscriber._take_in = take_in
            raise RuntimeError("nobody foresaw this")

        subscriber._take_in = fails_once
        await produce(settings, topic, [event("b", 0)])
        await until(lambda: subscriber._take_in == take_in)
        go_on.set()
        await until_committed(settings, topic, 5)
    in_a = [one for one in dict.fromkeys(handled) if one != "b:0"]
    assert in_a == [f"a:{n}" for n in range(4)]


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


async def test_an_intake_that_breaks_off_while_a_partition_is_paused_reads_it_again(kafka, topic):
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_outstanding=8
    )
    go_on, handled = asyncio.Event(), set()

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey == "slow":
            await go_on.wait()
        handled.add(one.id)

    await produce(settings, topic, [event("slow", n) for n in range(300)])
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(subscriber.consumer.paused()) == 1)
        take_in = subscriber._take_in

        def fails_once(*given: object) -> None:
            subscriber._take_in = take_in
            raise RuntimeError("nobody foresaw this")

        subscriber._take_in = fails_once
        other = next(f"c{n}" for n in range(100) if partition_of(f"c{n}") != partition_of("slow"))
        await produce(settings, topic, [event(other, 0)])
        await until(lambda: subscriber._take_in == take_in)
        go_on.set()
        await until(lambda: len(handled) == 301)


async def test_a_log_that_ends_before_what_was_committed_is_read_from_its_beginning(settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await produce(settings, topic, [event("c0", n) for n in range(3)])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=f"group-{topic}", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partition = TopicPartition(topic, partition_of("c0"))
        consumer.assign([partition])
        await consumer.commit({partition: 500})
    finally:
        await consumer.stop()
    async with consuming(settings, topic, handler):
        await until(lambda: handled == ["c0:0", "c0:1", "c0:2"])
        async with asyncio.timeout(20):
            while (await committed(settings, topic))[partition.partition] != 3:
                await asyncio.sleep(0.05)


async def test_a_dead_letter_that_is_too_large_for_its_topic_leaves_its_story_there(settings, topic, kafka):
    small = f"{topic}-small"
    await create(kafka, small)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(f"{small}.dlq", 1, 1, topic_configs={"max.message.bytes": "2000"})])
    finally:
        await admin.close()

    async def handler(one: MessageReceived) -> None:
        raise AssertionError("never read")

    await produce(settings, small, [], raw=b"x" * 5000)
    async with consuming(settings, small, handler):
        await until_committed(settings, small, 1)
    [(value, headers)] = await dead(settings, small)
    assert value == b""
    assert headers[dead_letters.DROPPED] == "5000"
