"""How ManyChat answers: a success with or without data, and two shapes of refusal."""

from typing import Any

from devkit.sandbox.calls import Answer


class Refused(Exception):
    """A refusal on its way to becoming an answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def success(data: Any) -> Answer:
    """Return the answer that carries `data`."""
    return Answer(200, {"status": "success", "data": data})


def refusal(message: str, code: int | None) -> Answer:
    """Return a refusal: with a code where the channel failed, with details where the request is wrong."""
    if code is not None:
        return Answer(400, {"status": "error", "message": message, "code": code}, error=str(code))
    details = {"messages": [{"message": message}]}
    body = {"status": "error", "message": "Validation error", "details": details}
    return Answer(400, body, error="validation")


def whole(value: Any) -> int | None:
    """Return a whole number, given as one or as its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None
