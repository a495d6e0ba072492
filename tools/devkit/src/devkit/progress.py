"""What a person sees while something is fetched or built: one moving line, or plain ones in a log."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

Say = Callable[[str], None]
"""Shows one line to the person who started us."""


class Advance(Protocol):
    """Is told how far a download has come. Called from several threads, one at a time."""

    def __call__(self, done: int, total: int) -> None:
        """Take note that `done` of `total` bytes are here."""


def say(line: str) -> None:
    """Show `line` on standard error: standard output belongs to the command's own result."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def silent(done: int, total: int) -> None:
    """Show nothing."""


@contextlib.contextmanager
def download_bar(title: str, *, console: Console | None = None) -> Iterator[Advance]:
    """Show a download of several files as one bar; where there is no terminal as two lines."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.print(f"{title} …", markup=False)
        yield silent
        console.print(f"{title}: done", markup=False)
        return
    title_column = TextColumn("{task.description}", markup=False)
    with Progress(title_column, BarColumn(), DownloadColumn(), TimeElapsedColumn(), console=console) as shown:
        task = shown.add_task(title, total=None)

        def advance(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield advance


@contextlib.contextmanager
def working_line(title: str, *, console: Console | None = None) -> Iterator[Say]:
    """Show what a long build is doing right now; without a terminal only its start and its end."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.print(f"{title} …", markup=False)
        yield lambda _: None
        console.print(f"{title}: done", markup=False)
        return
    with console.status(title) as status:
        yield lambda line: status.update(f"{title}: {line}")
