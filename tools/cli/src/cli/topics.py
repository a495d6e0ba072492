"""`jawab topics`: the topics as declared in `common.kafka.topics`, made and compared with the cluster's."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from aiokafka.admin import AIOKafkaAdminClient
from cyclopts import App, Parameter
from rich.text import Text

from cli import screen
from cli.environment import settings
from cli.failures import Failure, Misconfigured
from cli.moments import in_words
from common.kafka.broker import client_connection
from common.kafka.topic_admin import apply as apply_topics
from common.kafka.topic_admin import partition_counts
from common.kafka.topics import TOPICS, Topic, TopicReport, TopicsDiffer
from common.settings import KafkaSettings

app = App(name="topics", help="Create and list the Kafka topics.")

MARKS = {"there": screen.OK, "created": screen.OK, "missing": screen.WARN, "differs": screen.BAD}
STYLES = {screen.OK: "green", screen.WARN: "yellow", screen.BAD: "red"}


@app.command(name="apply")
def apply(
    *,
    replication_factor: Annotated[int, Parameter(env_var="KAFKA_REPLICATION_FACTOR")] = 1,
    min_insync_replicas: Annotated[int, Parameter(env_var="KAFKA_MIN_INSYNC_REPLICAS")] = 1,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Create the topics that are missing; existing ones are never changed.

    Parameters
    ----------
    replication_factor
        How many brokers hold each record. 3 in production.
    min_insync_replicas
        How many of them must have it before it counts as written. 2 in production.
    dry_run
        Only say what would be created.
    json
        Print JSON.
    """
    check_replicas(replication_factor, min_insync_replicas)
    kafka = settings(KafkaSettings)
    with screen.working(f"{'Comparing' if dry_run else 'Applying'} topics at {kafka.bootstrap_servers}"):
        try:
            reports = asyncio.run(
                _apply(client_connection(kafka), replication_factor, min_insync_replicas, dry_run=dry_run)
            )
        except TopicsDiffer as error:
            raise Failure(str(error), "`jawab topics list` shows all of them") from None
    if json:
        screen.as_json([as_data(report.topic, report.state) for report in reports])
        return
    _show(reports, {})
    if dry_run and any(report.state == "missing" for report in reports):
        screen.following("jawab topics apply")
    else:
        screen.following("jawab doctor")


@app.command(name="list")
def list_topics(*, json: bool = False) -> None:
    """List every topic as declared, and whether the cluster has it so.

    Parameters
    ----------
    json
        Print JSON.
    """
    kafka = settings(KafkaSettings)
    with screen.working(f"Reading topics at {kafka.bootstrap_servers}"):
        existing = asyncio.run(existing_partitions(client_connection(kafka)))
    reports = [TopicReport(topic, state_of(topic, existing)) for topic in TOPICS]
    if json:
        screen.as_json([as_data(report.topic, report.state, existing.get(report.topic.name)) for report in reports])
        return
    _show(reports, existing)
    if any(report.state == "missing" for report in reports):
        screen.following("jawab topics apply")


def check_replicas(replication_factor: int, min_insync_replicas: int) -> None:
    """Raise Misconfigured where no record could ever be written."""
    if not 1 <= min_insync_replicas <= replication_factor:
        raise Misconfigured(
            f"KAFKA_MIN_INSYNC_REPLICAS is {min_insync_replicas} and KAFKA_REPLICATION_FACTOR {replication_factor}",
            "the first must be at least 1 and at most the second, or nothing can be written",
        )


def state_of(topic: Topic, existing: dict[str, int]) -> str:
    """Say whether a declared topic is `there`, `missing`, or there with other partitions: `differs`."""
    if topic.name not in existing:
        return "missing"
    return "there" if existing[topic.name] == topic.partitions else "differs"


def as_data(topic: Topic, state: str, partitions: int | None = None) -> dict[str, Any]:
    """Return one topic for another program."""
    data = {
        "name": topic.name,
        "partitions": topic.partitions,
        "retention_ms": topic.retention_ms,
        "keyed_by": topic.keyed_by,
        "state": state,
    }
    return data | ({"actual_partitions": partitions} if state == "differs" else {})


async def existing_partitions(connection: dict[str, Any], *, timeout: float = 15.0) -> dict[str, int]:
    """Return the declared topics the cluster has, each with its partitions. Raises KafkaError, TimeoutError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        async with asyncio.timeout(timeout):
            await admin.start()
            return await partition_counts(admin)
    finally:
        await admin.close()


async def _apply(connection: dict[str, Any], replicas: int, in_sync: int, *, dry_run: bool) -> list[TopicReport]:
    return await apply_topics(connection, replication_factor=replicas, min_insync_replicas=in_sync, dry_run=dry_run)


def _show(reports: list[TopicReport], existing: dict[str, int]) -> None:
    shown = screen.table("", "topic", "partitions", "kept", "key", "state")
    for report in reports:
        topic, mark = report.topic, MARKS[report.state]
        state = f"differs: has {existing[topic.name]}" if report.state == "differs" else report.state
        kept = in_words(timedelta(milliseconds=topic.retention_ms))
        screen.row(
            shown,
            [Text(mark, style=STYLES[mark]), topic.name, str(topic.partitions), kept, topic.keyed_by, state],
        )
    screen.console().print(shown)
