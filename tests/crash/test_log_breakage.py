"""Forged commits and foreign records are what they claim to be; Jawab's own reading tells them from its own."""

from typing import get_args

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from hypothesis import given
from hypothesis import strategies as st
from log_breakage import BACK, LARGE_HEADER, forged, note_ahead, record_of
from log_steps import Forgery, Shape

from common.kafka.topics import MAX_RECORD_BYTES

NOTES = ('{"in_progress":1}', '{"done_to":9,"but":""}', "")
commits = st.dictionaries(
    st.builds(TopicPartition, st.sampled_from(["a", "b"]), st.integers(0, 3)),
    st.builds(OffsetAndMetadata, st.integers(-1, 1000), st.sampled_from(NOTES)),
)


@given(st.sampled_from(get_args(Forgery)), commits)
def test_a_forged_commit_never_passes_what_was_committed(forgery, committed):
    found = dict(forged(forgery, committed))
    assert found.keys() == {tp for tp, at in committed.items() if at.offset >= 0}
    for tp, at in found.items():
        behind = committed[tp].offset - at.offset
        assert behind == (min(BACK, committed[tp].offset) if forgery == "rewound" else 0)


@given(commits)
def test_a_copied_note_is_another_partitions_or_one_that_is_far_ahead(committed):
    for tp, at in forged("copied", committed):
        assert at.metadata
        assert at.metadata != committed[tp].metadata


def test_notes_ahead_come_in_every_form():
    assert len({note_ahead(number, 50) for number in range(8)}) == 4


@pytest.mark.parametrize("shape", get_args(Shape))
def test_a_foreign_record_fits_a_topic(shape):
    key, value, headers = record_of(shape, 1)
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)
    assert size < MAX_RECORD_BYTES
    assert (shape == "large_header") == (size > LARGE_HEADER)
