"""A topic and settings of its own for each test on Kafka. The modules beside this one are found by their own names."""

import sys
from itertools import count
from pathlib import Path

import pytest

from common.settings import KafkaSettings

sys.path.insert(0, str(Path(__file__).parent))

from consumption import create

_names = count(1)


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap, session_timeout=6, commit_interval=0.05, drain_timeout=5, request_timeout=5
    )


@pytest.fixture
async def topic(kafka) -> str:
    name = f"keyed-{next(_names)}"
    await create(kafka, name, f"{name}.dlq")
    return name
