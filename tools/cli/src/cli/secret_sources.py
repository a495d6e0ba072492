"""Where a secret is read from: never from the command line itself, which every process of the machine can read."""

import os
import sys
from collections.abc import Callable, Mapping
from getpass import getpass
from pathlib import Path

from cli.failures import Failure

HINT = "give env:NAME, file:PATH, stdin, prompt or none"
LONGEST = 4096


def read_secret(
    source: str,
    *,
    option: str,
    asked_as: str,
    environment: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] = getpass,
    read: Callable[[int], str] | None = None,
) -> str | None:
    """Return the secret that `source` names, None for `none`. Raises Failure, which never quotes the source's rest."""
    kind, _, place = source.partition(":")
    if source == "none":
        return None
    if source == "prompt":
        value = ask(f"{asked_as} (not shown; empty for none): ")
    elif source == "stdin":
        value = (read or sys.stdin.read)(LONGEST + 2)
    elif kind == "env" and place:
        if place not in environment:
            raise Failure(f"{option}: the environment has no {place}", "set it, or give another source")
        value = environment[place]
    elif kind == "file" and place:
        try:
            value = Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{option}: {place} cannot be read ({type(error).__name__})") from None
    else:
        raise Failure(f"{option} takes a source, not the secret itself", HINT)
    return _checked(value.strip(), option)


def _checked(value: str, option: str) -> str | None:
    if not value:
        return None
    if len(value) > LONGEST or not value.isprintable() or " " in value:
        raise Failure(f"{option}: what was read is not one key or token", "it must be one line without blanks")
    return value


def can_ask() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()
