"""How a command ends when it cannot do what was asked: one readable line with the fix, never a traceback.

- `Failure`: it did not work; exit code 1
- `Misconfigured`, a failure: the environment or the options cannot work; exit code 78 (EX_CONFIG of sysexits.h)
"""

import sys
from typing import ClassVar

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 78


class Failure(Exception):
    """What went wrong, and what to do about it."""

    code: ClassVar[int] = EXIT_FAILED

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class Misconfigured(Failure):
    """Trying again will not help before somebody changes the environment or the options."""

    code: ClassVar[int] = EXIT_MISCONFIGURED


def show(failure: Failure) -> None:
    """Write the one line to standard error."""
    line = f"jawab: {failure.reason}"
    sys.stderr.write(" ".join((f"{line} → {failure.fix}" if failure.fix else line).split()) + "\n")
