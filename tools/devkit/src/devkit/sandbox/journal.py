"""The record of every call, numbered in the order of effect: what a test counts to know that nothing was sent twice.

An entry is written at the moment the call takes effect or is refused, together with what its caller *will* be told,
so that a call whose answer is dropped or never given is on record all the same. Writing is O(1) and touches no disk.
Requests' bodies are large and only the newest are kept; all else stays as long as the journal's limit lets it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

MAX_WAIT_SECONDS = 60.0
MAX_ENTRIES_A_READ = 1000
BODIES_KEPT = 5000
FIRST_ERROR = 400

Ending = Literal["answered", "refused", "dropped", "hung", "unreached"]


@dataclass(slots=True)
class Entry:
    """One call. `outcome` is the HTTP status given, or ``dropped`` or ``hung``; times are seconds since 1970.

    `received` is when the call came in, `time` when it took effect or was refused. Of what the sandbox posts itself
    (api ``webhook``) `received` is when there was something to tell, `outcome` what became of the last attempt.
    """

    number: int
    time: float
    received: float
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
    """The request's body while it is kept; left out of readings unless asked for."""
    answered: float | None = None
    """When the answer had been handed to the network; None for what was never answered."""

    @property
    def ending(self) -> Ending:
        """How the call ended for its caller: a success, a refusal, or silence of one kind or the other.

        ``unreached`` is a webhook of the sandbox's own that nobody ever answered.
        """
        if self.outcome in {"dropped", "hung"}:
            return "dropped" if self.outcome == "dropped" else "hung"
        if not self.outcome.isdigit():
            return "unreached"
        return "answered" if int(self.outcome) < FIRST_ERROR else "refused"

    def told(self, *, bodies: bool = False) -> dict[str, Any]:
        """Return the entry as JSON would have it."""
        told = {**asdict(self), "ending": self.ending}
        if not bodies:
            del told["request"]
        return told


class Journal:
    """The last `limit` entries, readable from any number on, with a bounded wait for the next one."""

    def __init__(self, limit: int, now: Callable[[], float] = time.time, *, bodies: int = BODIES_KEPT) -> None:
        self.now = now
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._with_bodies: deque[Entry] = deque()
        self._bodies = bodies
        self._last = 0
        self._forgotten = 0
        self._written = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the newest entry ever written, 0 before the first."""
        return self._last

    @property
    def forgotten(self) -> int:
        """The number of the newest entry that the limit made it forget, 0 while it has forgotten none."""
        return self._forgotten

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
        received: float | None = None,
    ) -> Entry:
        """Append an entry under the next number and wake whoever waits for one; `received` is now unless given."""
        self._last += 1
        at = self.now()
        entry = Entry(
            number=self._last,
            time=at,
            received=at if received is None else received,
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
        if len(self._entries) == self._entries.maxlen:
            self._forgotten = self._entries[0].number
        self._entries.append(entry)
        if request is not None:
            self._with_bodies.append(entry)
            if len(self._with_bodies) > self._bodies:
                self._with_bodies.popleft().request = None
        self._written.set()
        return entry

    def note_answered(self, entry: Entry) -> None:
        """Note that the call's answer is on its way."""
        entry.answered = self.now()

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
        self._with_bodies.clear()
