"""A Kafka of its own for each module: whole services read their topics from the beginning."""

from collections.abc import Iterator

import pytest

from devkit.kafka import EmbeddedKafka
from devkit.kafka_with_topics import kafka_with_topics


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Apache Kafka with Jawab's topics; `.bootstrap` is its address."""
    with kafka_with_topics(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
