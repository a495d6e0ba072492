"""The record of every call, numbered in the order of effect: what a test counts to know that nothing was sent twice.

An entry is written at the moment the call takes effect or is refused, together with what its caller *will* be told,
so that a call whose answer is dropped or never given is on record all the same. Writing is O(1) and touches no disk.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

MAX_WAIT_SECONDS = 60.0
MAX_ENTRIES_A_READ = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `outcome` is the HTTP status given, or ``dropped`` or ``hung``; `time` is seconds since 1970."""

    number: int
    time: float
    api: str
    kind: str
    method: str
    path: str
    account: str
    contact: str
    text: str
    outcome: str
    effect: bool
    error: str = ""
    message_id: str = ""
    fault: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    request: Any = None
    """The request's body; left out of readings unless asked for."""

    def told(self, *, bodies: bool = False) -> dict[str, Any]:
        """Return the entry as JSON would have it."""
        told = asdict(self)
        if not bodies:
            del told["request"]
        return told


class Journal:
    """The last `limit` entries, readable from any number on, with a bounded wait for the next one."""

    def __init__(self, limit: int, now: Callable[[], float] = time.time) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._last = 0
        self._now = now
        self._written = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the newest entry ever written, 0 before the first."""
        return self._last

    def write(
        self,
        *,
        api: str,
        kind: str,
        method: str,
        path: str,
        outcome: str,
        effect: bool,
        account: str = "",
        contact: str = "",
        text: str = "",
        error: str = "",
        message_id: str = "",
        fault: str = "",
        detail: Mapping[str, Any] | None = None,
        request: Any = None,
    ) -> Entry:
        """Append an entry under the next number and wake whoever waits for one."""
        self._last += 1
        entry = Entry(
            number=self._last,
            time=self._now(),
            api=api,
            kind=kind,
            method=method,
            path=path,
            account=account,
            contact=contact,
            text=text,
            outcome=outcome,
            effect=effect,
            error=error,
            message_id=message_id,
            fault=fault,
            detail=detail or {},
            request=request,
        )
        self._entries.append(entry)
        self._written.set()
        return entry

    def after(self, number: int, *, limit: int = MAX_ENTRIES_A_READ) -> list[Entry]:
        """Return up to `limit` entries above `number`, oldest first; forgotten ones are left out."""
        if not self._entries:
            return []
        skip = max(0, number + 1 - self._entries[0].number)
        return list(islice(self._entries, skip, skip + limit))

    async def wait_after(self, number: int, seconds: float) -> list[Entry]:
        """Return what is above `number`, waiting up to `seconds` (at most a minute) while there is nothing."""
        deadline = asyncio.get_running_loop().time() + min(seconds, MAX_WAIT_SECONDS)
        while self._last <= number:
            self._written.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            try:
                await asyncio.wait_for(self._written.wait(), left)
            except TimeoutError:
                break
        return self.after(number)

    def clear(self) -> None:
        """Forget every entry; numbers go on from where they were."""
        self._entries.clear()
