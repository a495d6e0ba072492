"""What a person sees: tables, one line of progress, and the next useful command.

Customers' words are shown as they are meant and never interpreted. They lose control characters (a message must not
move the cursor), are never read as Rich markup, and stand inside Unicode isolates: without them a terminal that
reorders right-to-left text would swap Arabic cells with their neighbours.
"""

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich import box
from rich.cells import cell_len, chop_cells, split_graphemes
from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 140
"""Columns where there is no terminal to ask: wide enough for a log, narrow enough to read."""

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ELLIPSIS = "…"

OK, BAD, WARN = "✓", "✗", "!"


def console(*, errors: bool = False) -> Console:
    """Return a console on standard output, or on standard error."""
    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS") or PLAIN_WIDTH)
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def plain(text: str) -> str:
    """Return `text` as one line without control and direction characters."""
    kept = "".join(
        " " if character in "\n\r\t" else character
        for character in text
        if character in "\n\r\t" or (unicodedata.category(character) != "Cc" and character not in DIRECTION_MARKS)
    )
    return " ".join(kept.split())


def shortened(text: str, cells: int) -> str:
    """Return `text` cut to `cells` columns of a terminal, with an ellipsis where something is missing."""
    if cell_len(text) <= cells:
        return text
    kept, used = 0, 0
    graphemes = split_graphemes(text)[0]
    while kept < len(graphemes) and used + graphemes[kept][2] < cells:
        used += graphemes[kept][2]
        kept += 1
    # Joiners make the width of a whole another than the sum of its parts'.
    while kept and cell_len(_ending(text, graphemes[kept - 1][1])) > cells:
        kept -= 1
    return _ending(text, graphemes[kept - 1][1] if kept else 0)


def _ending(text: str, end: int) -> str:
    return text[:end].rstrip() + ELLIPSIS


def isolated(text: str) -> str:
    """Return `text` so that its direction ends with it; text that is only left-to-right stays as it is."""
    if any(unicodedata.bidirectional(character) in {"R", "AL", "AN"} for character in text):
        return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
    return text


def words(text: str | None, *, cells: int | None = None) -> Text:
    """Return somebody's words as one line, cut to `cells` columns; a dash where there are none."""
    if not text:
        return Text("-", style="dim")
    clean = plain(text)
    return Text(isolated(clean if cells is None else shortened(clean, cells)), no_wrap=cells is not None)


def folded(text: str | None, cells: int) -> Text:
    """Return somebody's words in full, on as many lines of `cells` columns as they need."""
    if not text:
        return Text("-", style="dim")
    lines = [""]
    for word in plain(text).split(" "):
        for piece in chop_cells(word, cells):
            joined = f"{lines[-1]} {piece}".strip()
            if cell_len(joined) <= cells:
                lines[-1] = joined
            else:
                lines.append(piece)
    # An isolate ends with its line, so each line has its own.
    return Text("\n".join(map(isolated, lines)), no_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table in the house style; long cells fold, nothing is dropped."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def row(made: Table, cells: Sequence[str | Text]) -> None:
    """Add a row; strings are taken as they are, not as markup."""
    made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def say(line: str | Text, *, style: str = "") -> None:
    """Show one line of the result."""
    console().print(Text(line, style=style) if isinstance(line, str) else line, soft_wrap=True)


def note(line: str) -> None:
    """Show what is being done, on standard error, so that the result stays clean."""
    console(errors=True).print(Text(line, style="dim"), soft_wrap=True)


def following(*commands: str) -> None:
    """End with the next useful commands."""
    # Whoever came through `uv run` has no `jawab` on the PATH of their own shell.
    prefix = "scripts/uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""
    for number, command in enumerate(commands):
        shown = prefix + command if command.startswith("jawab ") else command
        console().print(Text.assemble(("Next: " if number == 0 else "      ", "dim"), shown), soft_wrap=True)


@contextlib.contextmanager
def working(title: str) -> Iterator[None]:
    """Show that something is going on: a spinner on a terminal, one plain line elsewhere."""
    shown = console(errors=True)
    if not shown.is_terminal:
        note(f"{title} …")
        yield
        return
    with shown.status(Text(f"{title} …")):
        yield


def as_json(value: Any) -> None:
    """Write the result for another program."""
    write_json(value, sys.stdout)


def write_json(value: Any, stream: TextIO) -> None:
    """Write JSON that ends with a new line; moments and the like as text."""
    stream.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
