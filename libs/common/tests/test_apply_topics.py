"""`python -m common.kafka.apply_topics`: the topics, from inside any image."""

import pytest

from common.kafka import apply_topics
from common.kafka.topics import TOPICS


def test_replicas_that_can_never_be_met_are_a_misconfiguration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KAFKA_REPLICATION_FACTOR", "1")
    monkeypatch.setenv("KAFKA_MIN_INSYNC_REPLICAS", "2")
    assert apply_topics.main() == 78
    said = capsys.readouterr().err
    assert said.startswith("topics: KAFKA_MIN_INSYNC_REPLICAS must not be larger than KAFKA_REPLICATION_FACTOR")
    assert len(said.splitlines()) == 1


def test_a_cluster_that_is_away_is_one_line_with_its_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(apply_topics, "PATIENCE", 0.0)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    assert apply_topics.main() == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.kafka
def test_every_declared_topic_is_named_on_a_line_of_its_own(
    kafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    assert apply_topics.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [topic.name for topic in TOPICS]
