"""The topics as declared, and applying them to a real cluster."""

import pytest

from common.kafka import topic_admin, topics
from common.kafka.topics import CONVERSATION_PARTITIONS, SOURCES, TOPICS, TopicsDiffer, differences


def test_all_topics_of_conversations_have_the_same_number_of_partitions():
    assert {t.partitions for t in SOURCES if t.keyed_by == "conversation"} == {CONVERSATION_PARTITIONS}


def test_every_source_has_a_topic_for_its_dead_letters():
    names = {topic.name for topic in TOPICS}
    assert {source.dead_letters for source in SOURCES} <= names


def test_another_number_of_partitions_is_a_difference_and_a_missing_topic_is_none():
    first = TOPICS[0]
    assert differences({first.name: first.partitions}) == []
    assert differences({}) == []
    assert differences({first.name: 3}) == [f"{first.name} has 3 partitions, declared are {first.partitions}"]


@pytest.mark.kafka
async def test_applying_twice_changes_nothing(kafka):
    reports = await topic_admin.apply({"bootstrap_servers": kafka.bootstrap})
    assert {report.state for report in reports} == {"there"}


@pytest.mark.kafka
async def test_a_topic_that_differs_stops_the_apply(kafka, monkeypatch):
    wrong = topics.Topic(TOPICS[0].name, TOPICS[0].partitions + 1, 1000, "conversation")
    monkeypatch.setattr(topic_admin, "TOPICS", (wrong,))
    monkeypatch.setattr(differences, "__defaults__", ((wrong,),))
    with pytest.raises(TopicsDiffer, match="a key would move"):
        await topic_admin.apply({"bootstrap_servers": kafka.bootstrap})
