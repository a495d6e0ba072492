"""Customers' words on a terminal: never interpreted, never wider than their place, never turning their neighbours."""

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cli import screen

TEXTS = st.text(st.sampled_from("abc é شَلونك؟ 😍👨‍👩‍👧 1234567890[]/\n\t\x1b\u202e\u2068漢字"), max_size=120)
WORDS = st.text(st.sampled_from("abcdefgh شلونك؟ 😍漢字 123[]"), max_size=120)


@example(text="\u200d\u200d000", cells=2)
@given(TEXTS, st.integers(min_value=2, max_value=60))
def test_a_shortened_text_fits_its_columns(text: str, cells: int) -> None:
    assert cell_len(screen.shortened(screen.plain(text), cells)) <= cells


@given(WORDS, st.integers(min_value=2, max_value=60))
def test_a_folded_text_fits_on_every_line_and_loses_nothing_but_blanks(text: str, cells: int) -> None:
    lines = screen.folded(text, cells).plain.split("\n")
    kept = "".join(line.strip(screen.FIRST_STRONG_ISOLATE + screen.POP_ISOLATE) for line in lines)
    if screen.plain(text):
        assert all(cell_len(line) <= cells for line in lines)
        assert kept.replace(" ", "") == screen.plain(text).replace(" ", "")


@given(TEXTS)
def test_nothing_that_steers_a_terminal_or_its_direction_survives(text: str) -> None:
    assert not set(screen.plain(text)) & {"\x1b", "\n", "\t", "\u202e", "\u2068"}


@given(TEXTS, st.integers(min_value=2, max_value=40))
def test_every_isolate_that_is_opened_is_closed_on_its_line(text: str, cells: int) -> None:
    for made in (screen.words(text, cells=cells), screen.folded(text, cells)):
        for line in made.plain.split("\n"):
            assert line.count(screen.FIRST_STRONG_ISOLATE) == line.count(screen.POP_ISOLATE) <= 1


def test_arabic_is_isolated_and_latin_is_left_alone() -> None:
    assert screen.words("شلون").plain == f"{screen.FIRST_STRONG_ISOLATE}شلون{screen.POP_ISOLATE}"
    assert screen.words("hello").plain == "hello"
    assert screen.words("").plain == screen.words(None).plain == "-"


def test_rows_of_arabic_and_latin_are_equally_wide() -> None:
    console = Console(width=80, record=True, file=None, highlight=False)
    made = screen.table("who", "text", "end")
    for text in ("hello there", "شَلونكُم اليوم", "😍👍 حلو", "[bold]not markup[/bold]"):
        screen.row(made, ["x", screen.words(text, cells=20), "|"])
    with console.capture() as capture:
        console.print(made)
    rows = capture.get().rstrip("\n").split("\n")[2:]
    assert {cell_len(line[: line.rindex("|")]) for line in rows} == {cell_len(rows[0][: rows[0].rindex("|")])}
    assert "[bold]not markup" in capture.get()
