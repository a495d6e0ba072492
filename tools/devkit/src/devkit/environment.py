"""The development environment: `.env` if there is one, else the values of `.env.example`, as a plain mapping.

`.env.example` is the only place where development values are written down.
"""

import re
from collections.abc import Iterator
from pathlib import Path

LINE = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


class EnvironmentFileError(Exception):
    """An environment file cannot be found or read; the message names the file and the line."""


def project_root(start: Path | None = None) -> Path:
    """Return the folder of the checkout, found from `start` (this file) upwards. Raises EnvironmentFileError."""
    here = (start or Path(__file__)).resolve()
    for folder in (here, *here.parents):
        if (folder / ".env.example").is_file() and (folder / "pyproject.toml").is_file():
            return folder
    raise EnvironmentFileError("no .env.example above here: run this inside a checkout of Jawab")


def development_environment(root: Path) -> dict[str, str]:
    """Return the variables of `.env`, or of `.env.example` where there is no `.env`. Raises EnvironmentFileError."""
    chosen = root / ".env"
    return dict(parse(chosen if chosen.is_file() else root / ".env.example"))


def parse(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the variables of an environment file: NAME=value lines, `#` comments, optional quotes.

    Raises EnvironmentFileError for a line that is neither.
    """
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = LINE.match(line)
        if match is None:
            raise EnvironmentFileError(f"{path.name}, line {number}: expected NAME=value")
        name, value = match.group(1), match.group(2).strip()
        if value[:1] in {"'", '"'} and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        yield name, value
