"""Canaries: what `common.kafka` relies on inside FastStream, which does not promise it.

Each says in one sentence what of ours breaks when it fails. A failing canary after an upgrade is not mended here: look
at the code it names first.
"""

import asyncio
import gc
import inspect
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import requires, version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from consumption import Listener
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.helpers import make_logging_listener
from faststream.kafka.message import KafkaMessage
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from faststream.middlewares import AckPolicy
from packaging.requirements import Requirement
from pydantic import ValidationError

from common.events import AnyEvent
from common.events.interactions import Message, MessageReceived
from common.kafka.broker import kafka_broker
from common.settings import KafkaSettings

TOPIC = "canary"


def test_the_installed_versions_are_the_ones_these_canaries_were_written_for():
    """Outside the pinned range, nothing below is known to hold."""
    pinned = {one.name: one.specifier for one in map(Requirement, requires("jawab-common") or [])}
    for name in ("faststream", "aiokafka"):
        assert version(name) in pinned[name]
        assert any(bound.operator == "<" for bound in pinned[name]), f"{name} is not bounded above"


def event(conversation: str = "c0", number: int = 0) -> MessageReceived:
    return MessageReceived(
        id=f"{conversation}:{number}",
        source="/test",
        subject=conversation,
        partitionkey=conversation,
        time="2026-11-22T10:00:00Z",
        data=Message(account_id="1", contact_id=conversation, mid=str(number)),
    )


def record(value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> ConsumerRecord:
    return ConsumerRecord(TOPIC, 0, 7, 1_790_000_000_000, 0, b"c0", value, None, 2, len(value), tuple(headers))


class Consumer:
    """A consumer that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.listener: ConsumerRebalanceListener | None = None
        self.when_stopped: Callable[[], None] = lambda: None

    def subscribe(self, *, listener: ConsumerRebalanceListener, **_: Any) -> None:
        self.asked.append("subscribe")
        self.listener = listener

    def seek(self, **_: Any) -> None:
        self.asked.append("seek")

    async def start(self) -> None:
        self.asked.append("start")

    async def commit(self) -> None:
        self.asked.append("commit")

    async def stop(self) -> None:
        self.asked.append("stop")
        self.when_stopped()


class Pinned(DefaultSubscriber):
    """Overrides what KeyOrderedSubscriber overrides."""

    consumed: AIOKafkaConsumer | None = None

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:
        self.consumed = consumer


class Made:
    """A subscriber put together as `key_ordered_subscriber` does, and its broker, which is not connected."""

    def __init__(self) -> None:
        self.broker = kafka_broker(KafkaSettings(bootstrap_servers="127.0.0.1:1"), client_id="canary")
        self.listener = Listener()
        topics = [Topic.validate(TOPIC)]
        self.config = KafkaSubscriberConfig(
            topics=topics,
            group_id="canary",
            no_reply=True,
            connection_args={"session_timeout_ms": 6000},
            _outer_config=self.broker.config.broker_config,
            _ack_policy=AckPolicy.MANUAL,
        )
        self.config.listener = self.listener
        calls: CallsCollection[ConsumerRecord] = CallsCollection()
        specification = KafkaSubscriberSpecification(
            _outer_config=self.broker.config.broker_config,
            calls=calls,
            specification_config=KafkaSubscriberSpecificationConfig(topics=topics, title_=None, description_=None),
        )
        self.subscriber = Pinned(self.config, specification, calls)
        self.subscriber.parser.msg_class = KafkaMessage
        self.consumer = Consumer()
        self.built_with: dict[str, Any] = {}

    def register(self, handler: Callable[[AnyEvent], Any]) -> Pinned:
        Registrator.subscriber(self.broker, self.subscriber, persistent=True)
        self.subscriber.add_call(parser_=None, decoder_=None, codec_=None, dependencies_=())
        self.subscriber(handler)
        return self.subscriber

    async def start(self) -> None:
        """Start the subscriber on the consumer that notes."""

        def build(**arguments: Any) -> Consumer:
            self.built_with = arguments
            return self.consumer

        self.broker.config.broker_config.builder = build
        self.broker._setup_logger()
        await self.subscriber.start()


@pytest.fixture
def made() -> Made:
    return Made()


async def nothing(_: AnyEvent) -> None:
    pass


async def test_a_registered_subscriber_is_kept_alive_and_started_by_its_broker():
    """Otherwise a service starts, reports ready, and reads nothing."""

    def registered() -> KafkaBroker:
        made = Made()
        made.register(nothing)
        return made.broker

    broker = registered()
    gc.collect()
    assert [type(one) for one in broker.subscribers] == [Pinned]


async def test_starting_runs_our_consume_loop_on_the_consumer_with_our_arguments_and_without_auto_commit(made):
    """Otherwise FastStream's own loop runs, or aiokafka commits what is not done."""
    subscriber = made.register(nothing)
    await made.start()
    await asyncio.gather(*subscriber.tasks)
    assert subscriber.consumed is subscriber.consumer is made.consumer
    assert made.consumer.asked == ["subscribe", "start"]
    assert made.built_with["enable_auto_commit"] is False
    assert made.built_with["session_timeout_ms"] == 6000
    assert made.built_with["group_id"] == "canary"
    await subscriber.stop()


async def test_a_subscriber_without_a_call_reads_nothing(made):
    """`subscriber(handler)` must add to the calls, or the consume loop is never begun."""
    assert not made.subscriber.calls
    made.register(nothing)
    assert len(made.subscriber.calls) == 1


async def test_a_listener_set_on_the_configuration_hears_of_every_rebalance(made):
    """Otherwise partitions change hands and nothing is drained, committed or fenced."""
    made.register(nothing)
    await made.start()
    partitions = {TopicPartition(TOPIC, 0)}
    heard = made.consumer.listener
    assert heard is not None
    for call in (heard.on_partitions_revoked, heard.on_partitions_assigned):
        answer = call(partitions)
        if inspect.isawaitable(answer):
            await answer
    assert made.listener.told == [("revoked", frozenset(partitions)), ("assigned", frozenset(partitions))]
    await made.subscriber.stop()


@pytest.mark.parametrize("logger", [None, logging.getLogger("canary")])
async def test_the_listener_that_logs_calls_ours_with_and_without_a_logger(logger):
    """Ours is handed to aiokafka inside FastStream's: it must be awaited to its end before the rebalance goes on."""
    ours = Listener()
    theirs = make_logging_listener(consumer=_Named(), logger=logger, log_extra={}, listener=ours)
    assert theirs is not None
    await theirs.on_partitions_revoked({TopicPartition(TOPIC, 1)})
    await theirs.on_partitions_assigned({TopicPartition(TOPIC, 2)})
    assert [what for what, _ in ours.told] == ["revoked", "assigned"]


class _Named:
    """What FastStream's listener reads of a consumer."""

    class _coordinator:  # noqa: N801 aiokafka's name
        member_id = "canary"


async def test_a_record_goes_through_the_codec_to_the_handler(made):
    """`process_message` is all of FastStream that we keep around a handler: it must decode and hand on the event."""
    got: list[AnyEvent] = []

    async def handler(one: AnyEvent) -> None:
        got.append(one)

    subscriber = made.register(handler)
    await made.start()
    await subscriber.process_message(record(event().to_json(), [("content-type", b"application/json")]))
    assert got == [event()]
    await subscriber.stop()


async def test_what_a_handler_raises_and_what_cannot_be_decoded_comes_out_of_process_message(made):
    """Swallowed, a failed record would count as done and its offset would be committed."""

    async def handler(_: AnyEvent) -> None:
        raise KeyError("a bug")

    subscriber = made.register(handler)
    await made.start()
    with pytest.raises(KeyError):
        await subscriber.process_message(record(event().to_json()))
    with pytest.raises(ValidationError):
        await subscriber.process_message(record(b"{}"))
    with pytest.raises(ValidationError):
        await subscriber.process_message(record(b""))
    await subscriber.stop()


async def test_process_message_works_many_at_a_time(made):
    """Lanes call it side by side; a lock inside would make one conversation wait for another."""
    arrived = 0
    all_in = asyncio.Event()

    async def handler(_: AnyEvent) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 3:
            all_in.set()
        await all_in.wait()

    subscriber = made.register(handler)
    await made.start()
    async with asyncio.timeout(5):
        await asyncio.gather(*(subscriber.process_message(record(event().to_json())) for _ in range(3)))
    await subscriber.stop()


async def test_a_message_of_our_class_never_commits_nor_seeks(made):
    """`KafkaMessage.ack` must do nothing, or a handler's end would commit the position of every partition."""
    subscriber = made.register(nothing)
    await made.start()
    before = list(made.consumer.asked)
    message = await subscriber.parser.parse_message(record(event().to_json()))
    assert type(message) is KafkaMessage
    for settle in (message.ack, message.nack, message.reject):
        await settle()
    await subscriber.process_message(record(event().to_json()))
    assert made.consumer.asked == before
    await subscriber.stop()


async def test_stopping_ends_the_tasks_first_and_the_consumer_last(made):
    """Our `stop` drains and commits and then calls FastStream's: the group must not be left before, nor read after."""
    subscriber = made.register(nothing)
    await made.start()
    seen: list[tuple[bool, bool]] = []
    hanging = asyncio.Event()
    subscriber.add_task(hanging.wait)
    task = subscriber.tasks[-1]
    made.consumer.when_stopped = lambda: seen.append((subscriber.running, task.cancelling() > 0))
    await subscriber.stop()
    assert seen == [(False, True)]
    assert subscriber.consumer is None


async def test_a_task_that_breaks_is_begun_again_and_one_that_was_stopped_is_not(made):
    """The intake and the regular commits are such tasks: a bug in one pass must not end them."""
    subscriber = made.register(nothing)
    await made.start()
    began: list[int] = []
    again = asyncio.Event()

    async def breaks_once() -> None:
        began.append(1)
        if len(began) == 1:
            raise LookupError("a bug")
        again.set()
        await asyncio.Event().wait()

    subscriber.add_task(breaks_once)
    async with asyncio.timeout(5):
        await again.wait()
    await subscriber.stop()
    await asyncio.sleep(0)
    assert len(began) == 2


def test_add_call_takes_what_we_pass_by_name():
    """It is called with every argument named, so that a new one with another meaning is noticed here."""
    assert set(inspect.signature(DefaultSubscriber.add_call).parameters) == {
        "self",
        "parser_",
        "decoder_",
        "dependencies_",
        "codec_",
    }
