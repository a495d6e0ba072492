"""Turns a customer's voice messages into text before anything is decided about them, and pays for each only once.

    link → the recording, in memory → what kind it is → the transcription API → the transcript, stored with the message

The transcript is stored before its message gets a line, so a crash after that finds it; while the database is away it
is kept here. A recording that cannot be heard is stored as heard with nothing in it: the message goes on all the same,
its model is told that it could not be heard, and no redelivery tries again.

What only has to wait (a server is out of order or asks to be left alone, or too many others are being heard) raises
Retryable, for as long as a customer may be kept waiting for a model; the message then waits in its lane, and nothing is
held up but that lane.
At most `concurrency` recordings, of `memory` bytes together, are in memory at once, and as many wait for a place. All
three are budgets per account inside a budget for all (`common.kafka.account_budget`), so that one account's recordings
leave the others theirs.
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from ai.completion import ModelFailed
from ai.incoming import Incoming
from ai.media.audio import RECORDINGS, format_of
from ai.media.download import PASSING, Fetched, NotFetched
from ai.media.transcription import AudioUsage, Transcribed
from ai.messages import Stored
from common.clock import Clock
from common.errors import Retryable
from common.failpoints import failpoint
from common.kafka.account_budget import AccountBudget
from common.kafka.hold import refuse_if_lost
from common.kafka.slots import Slots
from common.merchants import Merchant

log = structlog.get_logger("ai")

MOST_RECORDINGS = 3
"""Heard of one message; Instagram sends one."""
MOST_UNSTORED = 1000
PAUSE_SECONDS = 2.0
"""Before what may pass by itself is tried again."""

MAX_RECORDING = 25_000_000
MEMORY = 64_000_000
WAITING_SHARE = 4.0
"""How many times what is left an account may have waiting for a place."""

NOTHING_HEARD = Transcribed("", AudioUsage())


class Fetching(Protocol):
    """Fetches media."""

    async def fetch(self, url: str, *, kinds: Collection[str]) -> Fetched:
        """Return what a link leads to. Raises NotFetched."""
        ...


class Transcribing(Protocol):
    """Understands speech."""

    async def transcribe(self, recording: bytes, ending: str, *, account: str = "") -> Transcribed:
        """Return what is said in a recording of an account's customer. Raises ModelFailed."""
        ...


class Transcripts(Protocol):
    """Keeps transcripts."""

    async def heard(self, message_id: str, transcript: str) -> None:
        """Store what was said in a message, unless it was taken back."""
        ...


class Spending(Protocol):
    """Counts what hearing costs."""

    def listened(self, merchant_id: str, at: datetime, usage: AudioUsage) -> None:
        """Count one message."""
        ...


class Observer(Protocol):
    """Is told what became of each message with a recording."""

    def heard(self, result: str, seconds: float, usage: AudioUsage) -> None:
        """Note one message: "ok" or why it could not be heard, how long it took, and what it cost."""
        ...


class NotHeard(Exception):
    """A recording could not be heard; `reason` is from a closed set, `wait` after how many seconds it may be."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Ears:
    """Hears voice messages."""

    def __init__(
        self,
        *,
        fetching: Fetching,
        transcribing: Transcribing,
        transcripts: Transcripts,
        spending: Spending,
        observer: Observer,
        clock: Clock,
        concurrency: int,
        patience: float,
        max_recording: int = MAX_RECORDING,
        memory: int = MEMORY,
    ) -> None:
        self._fetching = fetching
        self._transcribing = transcribing
        self._transcripts = transcripts
        self._spending = spending
        self._observer = observer
        self._clock = clock
        self._slots = Slots(concurrency)
        self._inside: AccountBudget[str] = AccountBudget(2 * concurrency, share=WAITING_SHARE)
        self._max_recording = max_recording
        self._memory = Slots(memory)
        self._patience = patience
        self._unstored: OrderedDict[str, Transcribed] = OrderedDict()

    async def hear(self, merchant: Merchant, said: Incoming, stored: Stored) -> Incoming:
        """Return what was said with its recordings heard. Raises Retryable, PyMongoError: the call is to be repeated.

        One call of the database for a message with a recording, none for all others.
        """
        if not said.recordings or said.standby:
            return said
        if stored.transcript is not None:
            return said.heard(stored.transcript)
        transcribed = self._unstored.pop(said.id, None) or await self._listened(said, stored)
        self._keep(said.id, transcribed)
        # Also by who was overtaken meanwhile: it was paid for, and is the same whoever writes it.
        await self._transcripts.heard(said.id, transcribed.text)
        self._unstored.pop(said.id, None)
        if transcribed != NOTHING_HEARD:
            self._spending.listened(merchant.id, self._clock.now(), transcribed.usage)
        failpoint("ai.after_transcript_before_decision")
        return said.heard(transcribed.text)

    def _keep(self, message_id: str, transcribed: Transcribed) -> None:
        self._unstored[message_id] = transcribed
        while len(self._unstored) > MOST_UNSTORED:
            self._unstored.popitem(last=False)

    async def _listened(self, said: Incoming, stored: Stored) -> Transcribed:
        """Return what was understood of a message, nothing where it could not be. Raises Retryable."""
        refuse_if_lost()
        waited = (self._clock.now() - stored.stored_at).total_seconds()
        started = time.monotonic()
        try:
            transcribed = await self._in_slot(said.account_id, said.recordings[:MOST_RECORDINGS])
        except NotHeard as failure:
            if failure.wait is not None and waited + failure.wait < self._patience:
                raise Retryable(f"a recording cannot be heard now: {failure.reason}", after=failure.wait) from None
            log.warning("voice.not_heard", conversation=said.conversation_id, reason=failure.reason)
            self._observer.heard(failure.reason, time.monotonic() - started, AudioUsage())
            return NOTHING_HEARD
        result = "ok" if transcribed.text else "silence"
        self._observer.heard(result, time.monotonic() - started, transcribed.usage)
        return transcribed

    async def _in_slot(self, account: str, urls: Sequence[str]) -> Transcribed:
        """Return what is said, transcribed in one of the account's slots. Raises NotHeard."""
        if not self._inside.admits(account):
            raise NotHeard("full", wait=PAUSE_SECONDS)
        self._inside.take(account)
        try:
            await self._slots.acquire(account)
            try:
                return await self._all(account, urls)
            finally:
                self._slots.release(account)
        finally:
            self._inside.release(account)

    async def _all(self, account: str, urls: Sequence[str]) -> Transcribed:
        """Return what is said in all recordings, one after another: only one of them is in memory. Raises NotHeard."""
        heard: list[Transcribed] = []
        given_up: NotHeard | None = None
        for url in urls:
            try:
                heard.append(await self._one(account, url))
            except NotHeard as failure:
                if failure.wait is None:
                    given_up = given_up or failure  # what can never be heard does not cost the others
                elif heard:
                    break  # what was understood, and paid for, is better than nothing
                else:
                    raise
        if given_up is not None and not heard:
            raise given_up
        usage = sum((one.usage for one in heard), AudioUsage())
        return Transcribed("\n".join(filter(None, (one.text for one in heard))), usage)

    async def _one(self, account: str, url: str) -> Transcribed:
        """Return what is said in a recording, which may be as large as allowed until it is there. Raises NotHeard."""
        reserved = self._max_recording
        await self._memory.acquire(account, reserved)
        try:
            recording = await self._fetching.fetch(url, kinds=RECORDINGS)
            size = min(len(recording.content), reserved)
            self._memory.release(account, reserved - size)
            reserved = size
            ending = format_of(recording.content)
            if ending is None:
                raise NotHeard("wrong_type")
            return await self._transcribing.transcribe(recording.content, ending, account=account)
        except NotFetched as failure:
            raise NotHeard(failure.reason, wait=PAUSE_SECONDS if failure.reason in PASSING else None) from None
        except ModelFailed as failure:
            raise NotHeard(failure.reason, wait=_worth_waiting(failure)) from None
        finally:
            self._memory.release(account, reserved)


def _worth_waiting(failure: ModelFailed) -> float | None:
    """Return the seconds after which the API may be asked again; None where that is of no use or was paid for."""
    if failure.reason in {"held_back", "rate_limited", "unavailable"}:
        return max(failure.after or PAUSE_SECONDS, PAUSE_SECONDS)
    return None
