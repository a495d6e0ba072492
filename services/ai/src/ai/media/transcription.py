"""Speech to text behind OpenAI's transcription API, or any server that speaks it.

The same policy as for answers (`ai.model`): tries and waits together end inside one time budget, only what passes by
itself is tried again, once, and a breaker of its own leaves the endpoint alone while it is down: chats go on then.

Of the models, `whisper-1` and the `gpt-4o-…transcribe` ones end on 2027-02-26 according to OpenAI's deprecations page;
`gpt-transcribe` follows them. All take the same request and give JSON; what they bill, they tell as seconds or tokens.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from openai import AsyncOpenAI
from openai.types.audio import Transcription

from ai.completion import ModelFailed, Reason
from ai.model import ACCOUNT, PAUSE_SECONDS, SHORTEST_TRY, TRIES
from ai.openai_errors import NOT_WELL, PASSING, reason_of, retry_after
from common.breaker import BreakerOpen, Breakers

API = "openai_audio"

LONGEST_TRANSCRIPT = 4000
"""Characters: some minutes of speech."""


@dataclass(frozen=True)
class AudioUsage:
    """What a transcription cost, in what its model is billed by."""

    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "AudioUsage") -> "AudioUsage":
        return AudioUsage(
            self.seconds + other.seconds,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True)
class Transcribed:
    """What was understood; an empty text is silence."""

    text: str = field(repr=False)
    usage: AudioUsage


class TranscriptionObserver(Protocol):
    """Is told about every call."""

    def transcribed(self, result: str, seconds: float) -> None:
        """Note one call: "ok" or a reason, and how long it took."""
        ...


class OpenAITranscription:
    """Asks a model what was said. `timeout` in seconds covers all tries of one recording."""

    def __init__(
        self, client: AsyncOpenAI, *, model: str, timeout: float, observer: TranscriptionObserver, breakers: Breakers
    ) -> None:
        self._client = client
        self._model = model
        self._timeout = timeout
        self._observer = observer
        self._breakers = breakers

    async def transcribe(self, recording: bytes, ending: str) -> Transcribed:
        """Return what is said in a recording; `ending` is its format's. Raises ModelFailed, and nothing else."""
        ends_at = time.monotonic() + self._timeout
        for attempt in range(1, TRIES + 1):
            try:
                return await self._call(recording, ending, ends_at - time.monotonic())
            except ModelFailed as failure:
                pause = failure.after if failure.after is not None else PAUSE_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 jitter is no secret
                left = ends_at - time.monotonic() - pause
                if failure.reason not in PASSING or attempt == TRIES or left < SHORTEST_TRY:
                    raise
                await asyncio.sleep(pause)
        raise ModelFailed("unavailable")

    async def _call(self, recording: bytes, ending: str, seconds: float) -> Transcribed:
        try:
            permit = self._breakers.ask(ACCOUNT)
        except BreakerOpen as held_back:
            raise ModelFailed("held_back", after=held_back.after) from None
        started = time.monotonic()
        result: Literal["ok"] | Reason = "ok"
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.audio.transcriptions.create(
                    file=(f"voice.{ending}", recording),
                    model=self._model,
                    response_format="json",
                    timeout=seconds,
                )
            return read_transcription(response)
        except ModelFailed as failure:
            result = failure.reason
            raise
        except asyncio.CancelledError:
            permit.withdrawn()
            raise
        except Exception as error:
            result = reason_of(error)
            raise ModelFailed(result, after=retry_after(error)) from error
        finally:
            (permit.failed if result in NOT_WELL else permit.worked)()
            self._observer.transcribed(result, time.monotonic() - started)


def read_transcription(response: Transcription) -> Transcribed:
    """Return what the API heard. Raises ModelFailed for an answer that is none."""
    text = getattr(response, "text", None)
    if not isinstance(text, str):
        raise ModelFailed("not_valid")
    usage = getattr(response, "usage", None)
    return Transcribed(
        text.replace("\x00", "").strip()[:LONGEST_TRANSCRIPT],
        AudioUsage(
            seconds=_amount(getattr(usage, "seconds", 0)),
            input_tokens=int(_amount(getattr(usage, "input_tokens", 0))),
            output_tokens=int(_amount(getattr(usage, "output_tokens", 0))),
        ),
    )


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 < value < float("inf") else 0.0
