"""Leave for one call of a platform: the breaker's permit, and a place in what a limit has slowed."""

from types import TracebackType
from typing import Self

from common.breaker import Permit
from delivery.pace.pauses import Slot


class Leave:
    """Both, to be used together or given back together. As a context manager it is used for the call inside."""

    def __init__(self, permit: Permit, slot: Slot | None) -> None:
        self._permit = permit
        self._slot = slot

    def withdrawn(self) -> None:
        """Note that the call was not made. Means nothing after one that was."""
        self._permit.withdrawn()
        if self._slot is not None:
            self._slot.give_back()

    def __enter__(self) -> Self:
        """Begin the call: the place is used up, however the call ends."""
        self._permit.__enter__()
        self._slot = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the breaker how the call ended."""
        self._permit.__exit__(kind, error, trace)
