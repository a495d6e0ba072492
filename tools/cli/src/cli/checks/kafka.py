"""Whether Kafka is there, and its topics as declared."""

import time
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from common.kafka.broker import client_connection
from common.kafka.topics import TOPICS, differences
from common.settings import KafkaSettings

SAFE_REPLICAS = 3
FIX = "start Kafka, or correct KAFKA_BOOTSTRAP_SERVERS (and KAFKA_SECURITY_PROTOCOL)"


def kafka_checks(kafka: KafkaSettings | None, *, production: bool) -> list[Check]:
    """Return the checks; without valid settings each says so."""

    async def reachable() -> str:
        begun = time.perf_counter()
        described = await _topics(kafka)
        milliseconds = (time.perf_counter() - begun) * 1000
        where = kafka.bootstrap_servers if kafka else ""
        return f"{where} answered in {milliseconds:.0f} ms, {len(described)} topics"

    async def topics() -> str:
        try:
            described = await _topics(kafka)
        except Wrong:
            raise NotLooked("Kafka is away") from None
        return judged(described, production=production)

    return [Check("kafka", "reachable", reachable), Check("kafka", "topics", topics)]


def judged(described: list[dict[str, Any]], *, production: bool) -> str:
    """Compare the cluster's topics with the declared ones. Raises Wrong and Doubtful."""
    partitions = {row["topic"]: row["partitions"] for row in described}
    if missing := [topic.name for topic in TOPICS if topic.name not in partitions]:
        raise Wrong(f"{len(missing)} missing: {', '.join(missing)}", "jawab topics apply")
    if lines := differences({name: len(listed) for name, listed in partitions.items()}):
        raise Wrong("; ".join(lines), "keys would move between partitions: create the topic anew while nothing runs")
    if away := [t.name for t in TOPICS if any(part["leader"] < 0 for part in partitions[t.name])]:
        raise Wrong(f"partitions without a leader: {', '.join(away)}", "see whether every broker runs")
    replicas = min(len(part["replicas"]) for topic in TOPICS for part in partitions[topic.name])
    if production and replicas < SAFE_REPLICAS:
        raise Doubtful(
            f"all {len(TOPICS)} there, some with {replicas} replica(s): losing a broker loses customers' messages",
            f"KAFKA_REPLICATION_FACTOR={SAFE_REPLICAS} KAFKA_MIN_INSYNC_REPLICAS=2 when topics are first applied",
        )
    return f"all {len(TOPICS)} there as declared"


async def _topics(kafka: KafkaSettings | None) -> list[dict[str, Any]]:
    if kafka is None:
        raise NotLooked("Kafka's variables are not valid", "see the lines of the environment")
    try:
        admin = AIOKafkaAdminClient(**client_connection(kafka))
    except (OSError, ValueError) as error:
        raise Wrong(f"no connection can be configured ({type(error).__name__})", "see KAFKA_CA_FILE") from None
    try:
        await admin.start()
        described: list[dict[str, Any]] = await admin.describe_topics()
    except (KafkaError, OSError) as error:
        raise Wrong(f"{kafka.bootstrap_servers} cannot be reached ({type(error).__name__})", FIX) from None
    else:
        return described
    finally:
        await admin.close()
