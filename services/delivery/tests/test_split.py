"""Cutting long texts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.split import MAX_BYTES, shortened, split

pieces = st.sampled_from(
    [
        "a",
        "word",
        " ",
        "\n",
        ". ",
        "؟ ",
        "مرحبا",
        "شُكْرًا",
        "é",
        "e\u0301",
        "👍🏽",
        "👩‍👩‍👧‍👦",
        "🇮🇶",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "각",
    ]
)
texts = st.lists(pieces, max_size=120).map("".join) | st.text(max_size=400)


def squeezed(text):
    return "".join(text.split())


@given(text=texts, limit=st.integers(min_value=40, max_value=300))
def test_every_part_fits_and_nothing_but_white_space_is_lost(text, limit):
    parts = split(text, limit)
    assert all(0 < len(part.encode()) <= limit for part in parts)
    assert all(part.strip() for part in parts)
    assert squeezed("".join(parts)) == squeezed(text)


@given(text=texts, limit=st.integers(min_value=40, max_value=300))
def test_parts_follow_one_another_in_the_text_with_only_white_space_between(text, limit):
    at = 0
    for part in split(text, limit):
        found = text.index(part, at)
        assert not text[at:found].strip()
        at = found + len(part)
    assert not text[at:].strip()


@given(clusters=st.lists(st.sampled_from(["e\u0301", "👍🏽", "👩‍👩‍👧‍👦", "🇮🇶", "شُ", "x"]), min_size=1, max_size=80))
def test_a_character_as_a_reader_sees_it_is_never_cut(clusters):
    parts = split("".join(clusters), 40)
    assert [one for part in parts for one in clusters_of(part, clusters)] == clusters


def clusters_of(part, clusters):
    """Read a part as whole clusters, or fail."""
    known = sorted(set(clusters), key=len, reverse=True)
    read = []
    while part:
        one = next(known_one for known_one in known if part.startswith(known_one))
        read.append(one)
        part = part[len(one) :]
    return read


@given(text=st.text(min_size=1, max_size=200))
def test_a_text_that_fits_stays_as_it_is(text):
    assert split(text) == ((text,) if text.strip() else ())


def test_a_cut_falls_behind_a_sentence_where_one_ends_late_enough():
    text = "A first sentence that is long enough. And then a second one that does not fit"
    assert split(text, 50) == ("A first sentence that is long enough.", "And then a second one that does not fit")


def test_a_cut_falls_at_white_space_where_the_last_sentence_ended_too_early():
    assert split("Hm. " + "word " * 20, 50)[0] == "Hm. " + "word " * 8 + "word"


def test_a_closing_quotation_mark_belongs_to_its_sentence():
    assert (
        split('She said: "we are open until ten." Come and see us then', 45)[0] == 'She said: "we are open until ten."'
    )


def test_arabic_counts_two_bytes_a_letter():
    word = "مرحبا "
    assert [len(part.encode()) <= MAX_BYTES for part in split(word * 200)] == [True, True, True]


def test_a_single_character_longer_than_a_part_is_cut_between_code_points():
    endless = "a" + "\u0301" * 300
    parts = split(endless, 100)
    assert "".join(parts) == endless
    assert all(len(part.encode()) <= 100 for part in parts)


@pytest.mark.parametrize("blank", ["", " ", "\n\t  "])
def test_a_blank_text_has_no_part(blank):
    assert split(blank) == ()


@given(text=texts)
def test_a_shortened_text_fits_and_begins_like_the_text(text):
    if not text.strip():
        return
    short = shortened(text, 60)
    assert len(short.encode()) <= 60
    assert short == text or (short.endswith("…") and text.strip().startswith(short[:-1]))


def test_marks_are_what_unicode_says_they_are():
    """The split relies on these categories."""
    assert unicodedata.category("\u0301") == "Mn"
    assert unicodedata.category("\ufe0f") == "Mn"
