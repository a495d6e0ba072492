"""What any error means for the person at the terminal, without quoting a secret or a customer.

Apart from `failures`, because knowing every driver's errors means importing every driver.
"""

import traceback

import httpx2
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from pydantic_settings import SettingsError
from pymongo.errors import PyMongoError

from cli.failures import Failure, Misconfigured
from common.service import misconfiguration

MONGODB_FIX = "start it, or correct MONGODB_URL; `jawab doctor` looks closer"
KAFKA_FIX = "start it, or correct KAFKA_BOOTSTRAP_SERVERS; `jawab doctor` looks closer"
UNEXPECTED_FIX = "JAWAB_DEBUG=1 shows the whole of it"


def failure_of(error: Exception) -> Failure:
    """Return the failure that `error` is."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, ValidationError | SettingsError):
        return Misconfigured(misconfiguration(error))
    name = type(error).__name__
    if isinstance(error, PyMongoError):
        return Failure(f"MongoDB cannot be used ({name})", MONGODB_FIX)
    if isinstance(error, KafkaError):
        return Failure(
            f"Kafka cannot be used ({name})",
            KAFKA_FIX,
        )
    if isinstance(error, httpx2.HTTPError):
        return Failure(f"no usable HTTP answer came ({name})", "see `jawab doctor` for what is away")
    if isinstance(error, TimeoutError):
        return Failure("no answer came in time", "see `jawab doctor` for what is away")
    if isinstance(error, ImportError):
        return Failure(f"a part of Jawab is not installed: {error.__cause__ or error}", "run `uv sync`")
    if isinstance(error, OSError):
        named = f": {error.filename}" if error.filename else ""
        return Failure(f"{error.strerror or name}{named}")
    return Failure(f"unexpected {name} at {_place(error)}", UNEXPECTED_FIX)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "an unknown place"
