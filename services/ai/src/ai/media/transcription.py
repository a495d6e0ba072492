"""Speech to text behind OpenAI's transcription API, or any server that speaks it.

The same policy as for answers (`ai.model`): tries and waits together end inside one time budget, only what passes by
itself is tried again, once, and a breaker of its own leaves the endpoint alone while it is down: chats go on then.

Of the models, `whisper-1` and the `gpt-4o-…transcribe` ones end on 2027-02-26 according to OpenAI's deprecations page;
`gpt-transcribe` follows them. All take the same request and give JSON; what they bill, they tell as seconds or tokens.
"""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from openai import AsyncOpenAI
from openai.types.audio import Transcription

from ai.completion import ModelFailed
from ai.llm.json_in_text import without_half_characters
from ai.llm.shared_breaker import SharedBreaker
from ai.openai_call import call, paused
from common.breaker import Breakers

API = "openai_audio"

LONGEST_TRANSCRIPT = 4000
"""Characters: some minutes of speech."""
MAX_AMOUNT = 1e9
"""Of seconds or tokens: what is beyond makes no sense, and no sum of it fits the store."""


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
        self._breaker = SharedBreaker(breakers)

    async def transcribe(self, recording: bytes, ending: str, *, account: str = "") -> Transcribed:
        """Return what is said in a recording; `ending` is its format's. Raises ModelFailed, and nothing else."""
        ends_at = time.monotonic() + self._timeout
        attempt = 1
        while True:
            seconds = ends_at - time.monotonic()
            try:
                return await call(
                    self._breaker,
                    partial(self._ask, recording, ending, seconds),
                    seconds=seconds,
                    told=self._observer.transcribed,
                    owner=account,
                )
            except ModelFailed as failure:
                if not await paused(failure, attempt=attempt, ends_at=ends_at):
                    raise
                attempt += 1

    async def _ask(self, recording: bytes, ending: str, seconds: float) -> Transcribed:
        response = await self._client.audio.transcriptions.create(
            file=(f"voice.{ending}", recording), model=self._model, response_format="json", timeout=seconds
        )
        return read_transcription(response)


def read_transcription(response: Transcription) -> Transcribed:
    """Return what the API heard. Raises ModelFailed for an answer that is none."""
    text = getattr(response, "text", None)
    if not isinstance(text, str):
        raise ModelFailed("not_valid")
    usage = getattr(response, "usage", None)
    return Transcribed(
        without_half_characters(text.replace("\x00", "")).strip()[:LONGEST_TRANSCRIPT],
        AudioUsage(
            seconds=_amount(getattr(usage, "seconds", 0)),
            input_tokens=int(_amount(getattr(usage, "input_tokens", 0))),
            output_tokens=int(_amount(getattr(usage, "output_tokens", 0))),
        ),
    )


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 < value < MAX_AMOUNT else 0.0
