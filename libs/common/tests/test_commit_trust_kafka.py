"""What an earlier commit says is believed only inside the log in which it was counted; on real Apache Kafka."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from consumption import committed, consuming, create, event, partition_of, produce, until, until_committed

from common.events.interactions import MessageReceived
from common.kafka.commit_note import Mark
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka

KEY = "c0"


async def commit(settings: KafkaSettings, topic: str, offset: int, note: str) -> None:
    """Commit for the consuming group, as another tool does, for the partition of KEY."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=f"group-{topic}", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partition = TopicPartition(topic, partition_of(KEY))
        consumer.assign([partition])
        await consumer.commit({partition: OffsetAndMetadata(offset, note)})
    finally:
        await consumer.stop()


async def committed_note(settings: KafkaSettings, topic: str) -> str:
    """Return the metadata that is committed for the partition of KEY."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=f"group-{topic}")
    await consumer.start()
    try:
        partition = TopicPartition(topic, partition_of(KEY))
        found = await consumer._coordinator.fetch_committed_offsets([partition])
        return str(found[partition].metadata)
    finally:
        await consumer.stop()


async def handled_of(settings: KafkaSettings, topic: str, number: int) -> list[str]:
    """Consume until `number` different records were handled, and return them as they came."""
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    async with consuming(settings, topic, handler):
        await until(lambda: len(set(handled)) >= number, within=15)
    return handled


NOTES = {
    "absolute, beyond the end": json.dumps({"done_to": 1000, "but": ""}),
    "relative, beyond the end": json.dumps({"ahead": 1000, "but": "", "mark": [999, 1, 1]}),
    "relative, of another log": json.dumps({"ahead": 24, "but": "", "mark": [23, 1, 1]}),
    "relative, without the mark of its log": json.dumps({"ahead": 24, "but": ""}),
    "of somebody else": "MirrorMaker",
    "deep": "[" * 4000,
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
async def test_a_note_that_was_not_written_in_this_log_makes_none_of_its_records_done(settings, topic, note):
    events = [event(KEY, n) for n in range(24)]
    await commit(settings, topic, 0, note)
    await produce(settings, topic, events)
    assert await handled_of(settings, topic, 24) == [one.id for one in events]


async def left_behind(settings: KafkaSettings, topic: str) -> tuple[int, str]:
    """Leave a commit behind that says of a log of ten records: the first is at work, and all others are done."""
    handled: list[str] = []

    async def stuck(one: MessageReceived) -> None:
        if one.id == "stuck9:0":
            await asyncio.sleep(3600)
        handled.append(one.id)

    stuck_key = "stuck9"
    assert partition_of(stuck_key) == partition_of(KEY)
    await produce(settings, topic, [event(stuck_key, 0), *(event(KEY, n) for n in range(9))])
    async with consuming(settings, topic, stuck) as subscriber:
        await until(lambda: len(handled) == 9)
        await subscriber.commit()
        subscriber._settings = settings.model_copy(update={"drain_timeout": 0.1})
    offset, note = (await committed(settings, topic))[partition_of(KEY)], await committed_note(settings, topic)
    assert json.loads(note)["ahead"] == 10
    return offset, note


async def test_a_note_that_was_written_in_this_log_is_believed(settings, topic):
    await left_behind(settings, topic)
    assert await handled_of(settings, topic, 1) == ["stuck9:0"]


async def test_a_commit_copied_beside_a_translated_offset_costs_no_record_of_the_other_log(kafka, settings, topic):
    """MirrorMaker 2 copies the metadata of a commit beside the offset that it translates."""
    _, note = await left_behind(settings, topic)
    copy = f"{topic}-copy"
    await create(kafka, copy, f"{copy}.dlq")
    events = [event(KEY, n) for n in range(100, 124)]
    await produce(settings, copy, events)
    await commit(settings, copy, 3, note)
    assert set(await handled_of(settings, copy, 24)) == {one.id for one in events}


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_whatever_was_committed(kafka, settings, topic):
    offset, note = await left_behind(settings, topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(20):
            while topic in await admin.list_topics():
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await create(kafka, topic)
    events = [event(KEY, n) for n in range(100, 124)]
    await produce(settings, topic, events)
    await commit(settings, topic, offset + 7, note)
    assert [one for one in await handled_of(settings, topic, 24) if one] == [one.id for one in events]


async def test_records_that_expired_before_they_were_read_are_counted_and_the_rest_is_handled(settings, topic):
    await produce(settings, topic, [event(KEY, n) for n in range(10)])
    await commit(settings, topic, 2, "")
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition_of(KEY)): RecordsToDelete(before_offset=6)})
    finally:
        await admin.close()
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(handled) == 4)
        assert subscriber._metrics.expired.labels(topic)._value.get() == 4
    assert handled == [f"{KEY}:{n}" for n in range(6, 10)]


async def test_an_offset_that_an_operator_set_back_is_believed(settings, topic):
    await left_behind(settings, topic)
    await commit(settings, topic, 8, "")
    assert await handled_of(settings, topic, 2) == [f"{KEY}:7", f"{KEY}:8"]


async def test_a_topic_that_is_made_anew_while_it_is_read_is_read_from_its_beginning(kafka, settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await produce(settings, topic, [event(KEY, n) for n in range(5)])
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(handled) == 5)
        await subscriber._log_watch.look()
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([topic])
            async with asyncio.timeout(20):
                while topic in await admin.list_topics():
                    await asyncio.sleep(0.01)
        finally:
            await admin.close()
        await create(kafka, topic)
        await produce(settings, topic, [event(KEY, n) for n in range(100, 124)])
        async with asyncio.timeout(30):
            while len(set(handled)) < 29:
                await subscriber.consumer._client.force_metadata_update()  # as its age does after a minute
                await subscriber._log_watch.look()
                await asyncio.sleep(0.05)
    assert list(dict.fromkeys(handled))[5:] == [f"{KEY}:{n}" for n in range(100, 124)]


async def test_a_log_that_grew_beyond_where_reading_was_is_read_from_its_beginning(kafka, settings, topic):
    """As when its topic is made anew between two fetches: nothing fails, and the records before are passed over."""
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    partition = TopicPartition(topic, partition_of(KEY))
    await produce(settings, topic, [event(KEY, n) for n in range(24)])
    await commit(settings, topic, 5, "")
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(handled) == 19)
        subscriber._log_watch._marked_in = subscriber._ownership.epoch
        subscriber._log_watch._marks = {partition: Mark(4, 1, 1)}  # of the log that was there before
        await subscriber._log_watch.look()
        await until(lambda: len(set(handled)) == 24)
        assert subscriber._metrics.commits_refused.labels("other_log")._value.get() == 1
        await until_committed(settings, topic, 24)
        await subscriber._log_watch.look()
        await subscriber._log_watch.look()
        assert len(handled) == 19 + 24, "the log is the same since"


async def test_records_that_expire_while_their_partition_waits_are_counted(settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    partition = TopicPartition(topic, partition_of(KEY))
    await produce(settings, topic, [event(KEY, 0)])
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: len(handled) == 1)
        subscriber._stopped._stopped.add(partition)  # as too many dead letters would
        await until(lambda: partition in subscriber.consumer.paused())
        await produce(settings, topic, [event(KEY, n) for n in range(1, 10)])
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=6)})
        finally:
            await admin.close()
        subscriber._stopped._stopped.clear()
        await until(lambda: len(handled) == 5)
        await subscriber._log_watch.look()
        assert subscriber._metrics.expired.labels(topic)._value.get() == 5
    assert handled[1:] == [f"{KEY}:{n}" for n in range(6, 10)]
