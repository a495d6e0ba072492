"""The journal keeps calls in order, forgets the oldest, and wakes whoever waits."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devkit.sandbox.journal import Journal


def _write(journal, text=""):
    return journal.write(api="graph", kind="message", method="POST", path="/", outcome="200", effect=True, text=text)


@given(limit=st.integers(1, 20), writes=st.integers(0, 60), after=st.integers(0, 70))
def test_reading_after_a_number_gives_what_is_left_above_it_in_order(limit, writes, after):
    journal = Journal(limit)
    for _ in range(writes):
        _write(journal)
    kept = range(max(1, writes - limit + 1), writes + 1)
    assert [entry.number for entry in journal.after(after)] == [n for n in kept if n > after]
    assert journal.last == writes


@given(st.lists(st.integers(1, 7), max_size=20))
def test_a_reader_who_continues_where_it_stopped_sees_each_entry_once(pages):
    journal = Journal(1000)
    for _ in range(sum(pages)):
        _write(journal)
    seen, at = [], 0
    for page in pages:
        entries = journal.after(at, limit=page)
        seen += [entry.number for entry in entries]
        at = seen[-1]
    assert seen == list(range(1, sum(pages) + 1))


def test_numbers_go_on_after_clearing():
    journal = Journal(10)
    _write(journal)
    journal.clear()
    assert journal.after(0) == []
    assert _write(journal).number == 2


async def test_waiting_ends_when_something_is_written():
    journal = Journal(10)
    waiting = [asyncio.create_task(journal.wait_after(0, 30)) for _ in range(3)]
    await asyncio.sleep(0)
    _write(journal, "هلو")
    assert [[entry.text for entry in await task] for task in waiting] == [["هلو"]] * 3


def test_what_the_limit_made_it_forget_is_told_and_what_was_cleared_is_not():
    journal = Journal(3)
    for _ in range(3):
        _write(journal)
    assert journal.forgotten == 0
    _write(journal)
    _write(journal)
    assert journal.forgotten == 2
    journal.clear()
    _write(journal)
    assert journal.forgotten == 2


def test_only_the_newest_bodies_are_kept():
    journal = Journal(10, bodies=2)
    entries = [
        journal.write(api="graph", kind="m", method="POST", path="/", outcome="200", effect=True, request={"n": n})
        for n in range(4)
    ]
    assert [entry.request for entry in entries] == [None, None, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        ("200", "answered"),
        ("201", "answered"),
        ("400", "refused"),
        ("429", "refused"),
        ("500", "refused"),
        ("hung", "hung"),
        ("dropped", "dropped"),
        ("ConnectError", "unreached"),
    ],
)
def test_an_ending_is_one_of_a_few_words(outcome, ending):
    entry = Journal(1).write(api="graph", kind="m", method="POST", path="/", outcome=outcome, effect=False)
    assert entry.told()["ending"] == ending


def test_an_entry_tells_when_it_came_in_took_effect_and_was_answered():
    times = iter([20.0, 30.0])
    journal = Journal(1, lambda: next(times))
    entry = journal.write(api="graph", kind="m", method="POST", path="/", outcome="200", effect=True, received=10.0)
    assert (entry.received, entry.time, entry.answered) == (10.0, 20.0, None)
    journal.note_answered(entry)
    assert entry.told()["answered"] == 30.0


async def test_waiting_is_bounded():
    assert await Journal(10).wait_after(0, 0.01) == []
