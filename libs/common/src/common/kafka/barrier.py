"""The read barrier: has everything that was observed in a conversation until now been taken in?

Used by delivery before a bot's send, so that a person who has just answered in the app is never talked over.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Watch(Protocol):
    """One conversation, watched from a moment at which everything read of it had been taken in."""

    async def undisturbed(self) -> bool:
        """Tell whether nothing of the conversation was observed since the watch began, up to the end of its
        partitions as of this call. Raises Retryable when that cannot be found out in time.
        """
        ...


class ReadBarrier(Protocol):
    """Watches conversations."""

    def watching(self, conversation_id: str) -> AbstractAsyncContextManager[Watch]:
        """Wait until everything already read of the conversation is taken in, and watch it from there.

        Entering raises Retryable when that takes too long.
        """
        ...
