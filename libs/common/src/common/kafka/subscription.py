"""How a service subscribes: FastStream's configuration and registration around the key-ordered subscriber."""

from collections.abc import Awaitable, Callable, Sequence

from aiokafka import ConsumerRecord
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.middlewares import AckPolicy

from common.clock import Clock
from common.events import AnyEvent
from common.kafka.burial import Burial, Buried
from common.kafka.codec import parse_record
from common.kafka.intake import LaneOf, key_of
from common.kafka.keyed import HEARTBEAT_SECONDS, KeyOrderedSubscriber
from common.kafka.metrics import KafkaMetrics
from common.kafka.raw_records import RawRecords
from common.kafka.retry import RetryPolicy
from common.settings import KafkaSettings

Handler = Callable[[AnyEvent], Awaitable[None]]

REJOIN_SECONDS = 5.0


def key_ordered_subscriber(
    broker: KafkaBroker,
    *topics: str,
    group: str,
    handler: Handler,
    settings: KafkaSettings,
    metrics: KafkaMetrics,
    clock: Clock,
    lane_of: LaneOf = key_of,
    retry: RetryPolicy | None = None,
    buried: Buried | None = None,
) -> KeyOrderedSubscriber:
    """Register `handler` for `topics` in consumer group `group` and return the subscriber.

    The handler gets one event and returns when it is done; it raises `Retryable` or `Permanent` (common.errors) to say
    what a failure means. `buried` is told of each record that went to the dead letters, at least once, before its
    offset moves.
    """
    declared: Sequence[Topic] = [Topic.validate(topic) for topic in topics]
    config = KafkaSubscriberConfig(
        topics=declared,
        group_id=group,
        no_reply=True,
        connection_args={
            "auto_offset_reset": "earliest",
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "session_timeout_ms": int(settings.session_timeout * 1000),
            # A member learns of a rebalance from its next heartbeat: so long a new replica waits at most.
            "heartbeat_interval_ms": int(min(HEARTBEAT_SECONDS, settings.session_timeout / 3) * 1000),
            # A member that does not rejoin within this time is replaced, however well its heart beats: it must be
            # longer than a drain and the commit behind it (aiokafka's own default is the session timeout).
            "rebalance_timeout_ms": int((settings.drain_timeout + settings.request_timeout + REJOIN_SECONDS) * 1000),
            # What was fetched and not taken in yet is in memory, too.
            "fetch_max_bytes": settings.fetch_bytes,
            "max_partition_fetch_bytes": settings.partition_fetch_bytes,
            "max_poll_interval_ms": 15 * 60 * 1000,
            "group_instance_id": settings.group_instance_id,
        },
        _outer_config=broker.config.broker_config,
        _ack_policy=AckPolicy.MANUAL,
    )
    calls: CallsCollection[ConsumerRecord] = CallsCollection()
    specification = KafkaSubscriberSpecification(
        _outer_config=broker.config.broker_config,
        calls=calls,
        specification_config=KafkaSubscriberSpecificationConfig(topics=declared, title_=None, description_=None),
    )
    records = RawRecords(broker)
    policy = retry or RetryPolicy(longest_age=settings.max_retry_age)
    subscriber = KeyOrderedSubscriber(
        config,
        specification,
        calls,
        lane_of=lane_of,
        retry=policy,
        raw_records=records,
        burial=Burial(records, group=group, retry=policy, metrics=metrics, clock=clock, buried=buried),
        settings=settings,
        metrics=metrics,
        clock=clock,
    )
    Registrator.subscriber(broker, subscriber, persistent=True)
    subscriber.add_call(parser_=parse_record, decoder_=None, codec_=None, dependencies_=())
    subscriber(handler)
    return subscriber
