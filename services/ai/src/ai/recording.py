"""Writing into a conversation what was said and what was decided: whoever takes a message in does both, each once."""

from datetime import datetime
from typing import Protocol

from ai.decisions import Decision
from ai.history import Conversation
from ai.incoming import Incoming


class Recording(Protocol):
    """Keeps conversations."""

    async def record(
        self,
        said: Incoming,
        *,
        merchant_id: str,
        language: str | None,
        stored_at: datetime,
        closes: bool,
        now: datetime,
    ) -> Conversation:
        """Append what was said, once, as the last message of its turn if it `closes`; return the conversation."""
        ...

    async def record_decision(self, decision: Decision, *, now: datetime) -> None:
        """Append what was decided, once."""
        ...
