"""The environment as the commands see it: `.env` of the working directory under the process's own variables."""

import os
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from cli.failures import Misconfigured

ENVIRONMENT = "environment"
RUNNING_STACK = Path(".run") / "up" / ENVIRONMENT
"""Where a running `jawab up` says how its Kafka, MongoDB and services are reached."""
PROCESS = "JAWAB_UP_PROCESS"
"""The variable in that file that names the process: a file that outlived it is not believed."""

S = TypeVar("S", bound=BaseSettings)

SIGNING_NAMES = ("META_APP_SECRET", "IG_APP_SECRET", "INSTAGRAM_WEBHOOK_SECRET")
VERIFY_TOKEN_NAMES = ("IG_VERIFY_TOKEN", "INSTAGRAM_VERIFY_TOKEN")


def read_dotenv(path: Path, environment: MutableMapping[str, str]) -> int:
    """Add the file's variables that `environment` does not have and return how many; none when there is no file.

    Raises Misconfigured when the file cannot be read.
    """
    if not path.is_file():
        return 0
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read ({type(error).__name__})", "it must be a UTF-8 text file") from None
    new = {name: value for name, value in values.items() if value is not None and name not in environment}
    environment.update(new)
    return len(new)


def read_running(path: Path, environment: MutableMapping[str, str]) -> int:
    """Add the variables of a running `jawab up`, if there is one, and return how many."""
    process = dotenv_values(path, interpolate=False).get(PROCESS) if path.is_file() else None
    if process is None or not process.isdigit() or not _alive(int(process)):
        return 0
    return read_dotenv(path, environment)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def settings(kind: type[S]) -> S:
    """Read a block of settings. Raises Misconfigured naming each variable that is wrong."""
    try:
        return kind()
    except (ValidationError, SettingsError) as error:
        from common.service import misconfiguration  # noqa: PLC0415 it brings a whole web framework

        raise Misconfigured(misconfiguration(error)) from None


def first_of(names: Sequence[str], environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the newest value under the first of `names` that is set, or None. Commas separate a rotation's values."""
    for name in names:
        values = [part.strip() for part in environment.get(name, "").split(",")]
        if found := next(filter(None, values), None):
            return found
    return None


def needed(names: Sequence[str], option: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the same, or raise Misconfigured saying what to set."""
    value = first_of(names, environment)
    if value is None:
        raise Misconfigured(
            f"{' or '.join(names)} is not set",
            f"set it (.env.example explains it), give {option}, or start a world with `make up`",
        )
    return value
