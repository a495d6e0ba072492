"""Key-ordered consumption on real Apache Kafka: order, retries, commits, dead letters, back pressure."""

import asyncio
import random
from collections import defaultdict

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from consumption import (
    committed,
    consuming,
    create,
    dead,
    event,
    in_one_partition,
    partition_of,
    produce,
    until,
    until_committed,
)

from common.errors import Permanent, Retryable
from common.events.interactions import MessageReceived
from common.kafka import dead_letters
from common.kafka.dead_letter_limit import FEWEST
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka


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


async def test_a_partition_full_of_many_accounts_records_is_paused_and_the_others_are_read_on(kafka, topic):
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_outstanding=40, drain_timeout=5
    )
    go_on, handled = asyncio.Event(), []
    slow = in_one_partition(300)

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey in slow:
            await go_on.wait()
        handled.append(one.id)

    well = [key for key in (f"c{n}" for n in range(300)) if partition_of(key) != 0]
    await produce(settings, topic, [event(key, 0) for key in slow + well])
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: subscriber.consumer.paused() == {TopicPartition(topic, 0)})
        await until(lambda: len(handled) >= len(well))
        assert subscriber._progress[TopicPartition(topic, 0)].outstanding < 300
        go_on.set()
        await until(lambda: len(handled) == 300 + len(well))
        await until(lambda: not subscriber.consumer.paused())


@pytest.mark.parametrize("size", [10, 60_000])
async def test_one_accounts_flood_stays_in_the_log_delays_nobody_and_survives_a_restart(kafka, topic, size):
    """More records, or more bytes, than a replica may have in memory, all of one account, all waiting."""
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap,
        session_timeout=6,
        commit_interval=0.05,
        max_outstanding=100,
        max_outstanding_bytes=4 * 1024 * 1024,
        drain_timeout=5,
    )
    mended, handled = asyncio.Event(), []
    shop, *loud = (
        in_one_partition(1) + [key for key in (f"loud:{n}" for n in range(200)) if partition_of(key) == 0][:30]
    )
    many = [event(key, n, size) for n in range(10) for key in loud]

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey != shop and not mended.is_set():
            raise Retryable("the document cannot be read", after=0.2)
        handled.append(one.id)

    await produce(settings, topic, many)
    for restart in range(2):
        async with consuming(settings, topic, handler) as subscriber:
            await until(lambda progress=subscriber._progress: bool(progress))
            progress = subscriber._progress[TopicPartition(topic, 0)]
            await until(lambda progress=progress: progress.next >= len(many))
            await produce(settings, topic, [event(shop, restart)])
            await until(lambda restart=restart: len(handled) == restart + 1)
            assert not subscriber.consumer.paused()
            assert subscriber._records._budget.records.taken <= 20
            assert subscriber._records._budget.bytes.taken <= 4 * 1024 * 1024 / 5 + 2 * size + 2000
    assert sum((await committed(settings, topic)).values()) == 0
    mended.set()
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(handled) == len(many) + 2)
        await until_committed(settings, topic, len(many) + 2)
        await until(lambda: subscriber._rereading._consumer is None)
    assert handled[:2] == [f"{shop}:0", f"{shop}:1"]
    for key in loud:
        assert [one for one in handled if one.startswith(f"{key}:")] == [f"{key}:{n}" for n in range(10)]


async def test_deferred_records_go_to_whoever_gets_their_partition_next(kafka, topic):
    """A rebalance in the middle of reading them again: nothing is lost, twice or out of order."""
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_outstanding=40, drain_timeout=5
    )
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        await asyncio.sleep(0.005)
        handled.append(one.id)

    events = [event(f"loud:{key}", n) for n in range(40) for key in range(12)]
    await produce(settings, topic, events)
    async with consuming(settings, topic, handler):
        await until(lambda: len(handled) > 60)
        async with consuming(settings, topic, handler):
            await until(lambda: len(handled) >= len(events))
            await until_committed(settings, topic, len(events))
    assert sorted(handled) == sorted(one.id for one in events)
    for key in range(12):
        assert [one for one in handled if one.startswith(f"loud:{key}:")] == [f"loud:{key}:{n}" for n in range(40)]


@pytest.mark.parametrize(("accounts", "stopped"), [(1, 0), (2, 0), (3, 1)])
async def test_what_dies_of_every_account_is_stopped_and_a_restart_goes_on_where_it_was(
    settings, topic, accounts, stopped
):
    """A bad deploy: of three accounts the partition is stopped, of fewer their lanes wait."""

    async def bad_deploy(one: MessageReceived) -> None:
        raise Permanent("a bug")

    keys = in_one_partition(accounts)
    each = 60 // accounts
    await produce(settings, topic, [event(key, n) for n in range(each) for key in keys])
    async with consuming(settings, topic, bad_deploy) as subscriber:
        await until(lambda: len(subscriber._stopped) == stopped)
        await until(lambda: len(subscriber._stopped.accounts) == (0 if stopped else accounts))
        dead_lettered = FEWEST if stopped else FEWEST * accounts
        await until(lambda: subscriber._metrics.dead_letters.labels(topic)._value.get() == dead_lettered)
    again: list[str] = []

    async def mended(one: MessageReceived) -> None:
        again.append(one.id)

    async with consuming(settings, topic, mended):
        await until(lambda: len(again) == each * accounts - dead_lettered)
    for key in keys:
        of_key = [one for one in again if one.startswith(f"{key}:")]
        assert of_key == [f"{key}:{n}" for n in range(each - len(of_key), each)]


@pytest.mark.parametrize("tenants", [1, 2])
async def test_tenants_whose_records_die_stop_nobody_elses_and_a_restart_changes_nothing(settings, topic, tenants):
    """Hundreds of records die in the partition of a shop that is quiet; its next customers are answered."""
    shop, *dying = in_one_partition(tenants + 1)
    answered: list[str] = []

    async def handler(one: MessageReceived) -> None:
        if one.partitionkey in dying:
            raise Permanent("beyond what MongoDB stores")
        answered.append(one.id)

    for restart in range(2):
        await produce(settings, topic, [event(key, n) for n in range(100) for key in dying])
        async with consuming(settings, topic, handler) as subscriber:
            dead_letters_of = subscriber._metrics.dead_letters.labels(topic)._value.get
            await until(lambda subscriber=subscriber: len(subscriber._stopped.accounts) == tenants)
            await produce(settings, topic, [event(shop, restart)])
            await until(lambda restart=restart: len(answered) == restart + 1)
            assert len(subscriber._stopped) == 0
            await until(lambda count=dead_letters_of: count() == 100 * tenants)
            await until(lambda subscriber=subscriber: not subscriber._stopped.accounts)
    assert answered == [f"{shop}:0", f"{shop}:1"]


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


async def test_an_intake_that_breaks_off_while_a_partition_is_paused_reads_it_again(kafka, topic):
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, max_outstanding=8, max_deferred=50
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
