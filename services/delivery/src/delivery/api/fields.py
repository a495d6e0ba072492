"""What the fields of request bodies may hold, the same for programs and people. Pure."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from common.wrong_input import INSTAGRAM_ID

LONGEST_MESSAGE = 10_000
LONGEST_LINE = 200


def says_something(text: str) -> str:
    """Return the text. Raises ValueError where it is only white space."""
    if not text.strip():
        raise ValueError("must be more than white space")
    return text


def tag(written: str) -> str:
    """Return a message tag. Raises ValueError where it is none."""
    if not 0 < len(written.strip()) <= LONGEST_LINE:
        raise ValueError(f"must be a message tag of 1 to {LONGEST_LINE} characters, or left out")
    return written.strip()


InstagramId = Annotated[str, StringConstraints(pattern=INSTAGRAM_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_LINE)]
Message = Annotated[str, StringConstraints(max_length=LONGEST_MESSAGE), AfterValidator(says_something)]
MessageTag = Annotated[str, AfterValidator(tag)]
