"""The end of a log is read although no record lies there: transactions leave marks and gaps; on real Apache Kafka."""

from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from consumption import committed, consuming, event, partition_of, until, until_committed

from common.events.interactions import MessageReceived

pytestmark = pytest.mark.kafka

KEY = "c0"
PARTITION = partition_of(KEY)
_transactions = count(1)


async def transact(kafka, topic: str, numbers: range, *, abort: bool) -> None:
    """Append events in a transaction, as a foreign program may, and end it."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{topic}-{next(_transactions)}")
    await producer.start()
    try:
        await producer.begin_transaction()
        for number in numbers:
            await producer.send_and_wait(topic, event(KEY, number).to_json(), key=KEY.encode(), partition=PARTITION)
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()


async def end_of(kafka, partition: TopicPartition) -> int:
    client = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=None)
    await client.start()
    try:
        return int((await client.end_offsets([partition]))[partition])
    finally:
        await client.stop()


@pytest.mark.parametrize("abort", [False, True], ids=["committed", "aborted"])
async def test_a_transactions_end_counts_as_read_and_is_committed_past(kafka, settings, topic, abort):
    """Otherwise whoever waits for the end of the log waits until an ordinary record comes."""
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    partition = TopicPartition(topic, PARTITION)
    async with consuming(settings, topic, handler) as subscriber:
        await transact(kafka, topic, range(3), abort=abort)
        await until(lambda: len(handled) == 3)  # nobody of ours writes in transactions, so nobody waits for their end
        end = await end_of(kafka, partition)
        assert end == 4
        await subscriber.has_read({partition: end}, 5)
        await until_committed(settings, topic, 4)
        await transact(kafka, topic, range(3, 5), abort=abort)
        await subscriber.has_read({partition: await end_of(kafka, partition)}, 5)
        await until_committed(settings, topic, 7)
    assert handled == [f"{KEY}:{n}" for n in range(5)]


async def test_a_log_that_ends_with_a_transactions_end_is_read_to_its_end_by_the_next_owner(kafka, settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await transact(kafka, topic, range(2), abort=False)
    async with consuming(settings, topic, handler):
        await until_committed(settings, topic, 3)
    async with consuming(settings, topic, handler) as subscriber:
        await until(lambda: bool(subscriber._progress))
        await subscriber.has_read({TopicPartition(topic, PARTITION): 3}, 5)
    assert handled == [f"{KEY}:0", f"{KEY}:1"]
    assert (await committed(settings, topic))[PARTITION] == 3
