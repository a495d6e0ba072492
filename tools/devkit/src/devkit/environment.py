"""The development environment: `.env` if there is one, else the values of `.env.example`, as a plain mapping.

`.env.example` is the only place where development values are written down.
"""

from pathlib import Path

from dotenv import dotenv_values


class EnvironmentFileError(Exception):
    """No environment file can be found; the message says what to do."""


def project_root(start: Path | None = None) -> Path:
    """Return the folder of the checkout, found from `start` (this file) upwards. Raises EnvironmentFileError."""
    here = (start or Path(__file__)).resolve()
    for folder in (here, *here.parents):
        if (folder / ".env.example").is_file() and (folder / "pyproject.toml").is_file():
            return folder
    raise EnvironmentFileError("no .env.example above here: run this inside a checkout of Jawab")


def development_environment(root: Path) -> dict[str, str]:
    """Return the variables of `.env`, or of `.env.example` where there is no `.env`."""
    chosen = root / ".env"
    return read_variables(chosen if chosen.is_file() else root / ".env.example")


def read_variables(path: Path) -> dict[str, str]:
    """Return the variables that an environment file sets to something."""
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
