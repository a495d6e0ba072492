"""What a commit says beside its offset: bounded, relative, and nothing where it contradicts itself."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.commit_note import Done, Mark, base36, read_note, runs_of, write_note

MARK = [9, 1, 1]


def note(**content: object) -> str:
    return json.dumps({"ahead": 9, "but": "", "mark": MARK} | content)


@given(st.sets(st.integers(0, 300)), st.integers(0, 300), st.integers(0, 10**9))
def test_what_is_written_is_read_as_it_was(undone, length, watermark):
    """As long as it fits, and no further than the mark."""
    to = watermark + length
    runs = list(runs_of(sorted(watermark + one for one in undone if one < length)))
    read = read_note(watermark, write_note(watermark, to, runs, Mark(to, 5, 6), {"in_progress": 1}))
    assert read is not None
    assert read.mark == Mark(to, 5, 6)
    expected = Done(to, tuple(runs))
    assert [read.done.covers(one) for one in range(watermark, to + 5)] == [
        expected.covers(one) for one in range(watermark, to + 5)
    ]


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_nothing_beyond_the_mark_is_claimed(watermark, length, mark):
    read = read_note(watermark, write_note(watermark, watermark + length, [], Mark(mark, 5, 6), {}))
    assert read is not None
    assert read.done.to <= max(mark + 1, watermark)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "x",
        "null",
        "7",
        "[]",
        "{}",
        "[" * 4000,
        '{"a":' * 800,
        '{"done_to":9,"but":""}',
        note(mark=None),
        note(mark=[]),
        note(mark=[9, 1]),
        note(mark=["9", 1, 1]),
        note(mark=[9.0, 1, 1]),
        note(mark=[True, 1, 1]),
        note(mark=[9, None, 1]),
        note(mark=[10**40, 1, 1]),
        note(mark=[-100, 1, 1]),
        note(ahead=-1),
        note(ahead=11),
        note(ahead="9"),
        note(ahead=True),
        note(ahead=None),
        note(but=7),
        note(but=None),
        note(but="-"),
        note(but="0-0"),
        note(but="0--5"),
        note(but="0-zzzzzz"),
        note(but="zzzzzz"),
        note(but="5." * 20),
        note(but="0" * 4096),
    ],
)
def test_metadata_that_is_not_ours_or_contradicts_itself_claims_nothing(metadata):
    assert read_note(5, metadata) is None


@given(st.integers(0, 2**63), st.text(max_size=200))
def test_any_text_can_be_read(offset, metadata):
    read_note(offset, metadata)


@given(
    st.integers(0, 2**63),
    st.integers(-(2**63), 2**63),
    st.integers(-(2**63), 2**63),
    st.lists(st.tuples(st.integers(0, 2**70), st.integers(0, 2**70)), max_size=20),
)
def test_a_note_claims_nothing_behind_its_mark_and_undone_runs_rise_inside_it(offset, at, ahead, runs):
    but = ".".join(f"{base36(gap)}-{base36(length)}" for gap, length in runs)
    read = read_note(offset, note(mark=[at, 1, 1], ahead=ahead, but=but))
    if read is not None:
        assert offset <= read.done.to <= max(read.mark.offset + 1, offset)
        bounds = [edge for run in read.done.undone for edge in (run[0], sum(run))]
        assert bounds == sorted(bounds)
        assert all(offset <= edge <= read.done.to for edge in bounds)


def test_a_short_note_about_millions_of_offsets_takes_no_more_memory_than_its_text():
    text = note(mark=[10**9, 1, 1], ahead=10**9, but="0-zzzzz")
    tracemalloc.start()
    try:
        read = read_note(0, text)
        assert read is not None
        assert write_note(0, read.done.to, read.done.undone_from(0), read.mark, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert not read.done.covers(36**5 - 2)
    assert read.done.covers(36**5)


@given(st.integers(0, 2**63))
def test_base_36_is_read_by_int(number):
    assert int(base36(number), 36) == number
