"""Speech to text, with the shapes and refusals of OpenAI's endpoint. What it hears is `recordings`' to say."""

from typing import Any

from devkit.sandbox.calls import Answer, Upload
from devkit.sandbox.recordings import seconds_of, words_in

MODELS = ("gpt-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe", "whisper-1")
BILLED_BY_TIME = frozenset({"gpt-transcribe", "whisper-1"})
ENDINGS = frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"})
MOST_BYTES = 25 * 1024 * 1024
SHORTEST_SECONDS = 0.1
TOKENS_A_SECOND = 10


def problem_with(fields: dict[str, Any]) -> tuple[str, str | None]:
    """Return why a request is refused and the code for it; an empty text where it is not."""
    upload = fields.get("file")
    if not isinstance(upload, Upload):
        return "file: a recording is needed", None
    if fields.get("model") not in MODELS:
        return f"The model {fields.get('model')!r} does not exist", "model_not_found"
    if fields.get("response_format", "json") not in {"json", "text", "verbose_json"}:
        return "response_format: json or text", None
    if len(upload.content) > MOST_BYTES:
        return f"Maximum content size limit ({MOST_BYTES}) exceeded", None
    ending = upload.filename.rpartition(".")[2].lower()
    if ending not in ENDINGS or words_in(upload.content) is None:
        return f"Invalid file format. Supported formats: {sorted(ENDINGS)}", None
    if seconds_of(upload.content) < SHORTEST_SECONDS:
        return f"Audio file is too short. Minimum audio length is {SHORTEST_SECONDS} seconds.", "audio_too_short"
    return "", None


def transcribed(fields: dict[str, Any]) -> Answer:
    """Return what is said in the recording, and what hearing it cost."""
    content, model = fields["file"].content, fields["model"]
    words, seconds = words_in(content) or "", seconds_of(content)
    tokens = max(1, round(seconds * TOKENS_A_SECOND))
    said = max(1, len(words) // 4)
    usage: dict[str, Any] = {"type": "duration", "seconds": max(1, round(seconds))}
    if model not in BILLED_BY_TIME:
        usage = {
            "type": "tokens",
            "input_tokens": tokens,
            "input_token_details": {"audio_tokens": tokens, "text_tokens": 0},
            "output_tokens": said,
            "total_tokens": tokens + said,
        }
    body: dict[str, Any] = {"text": words, "usage": usage}
    if model == "gpt-transcribe":
        body["languages"] = []
    return Answer(200, body, effect=True, detail={"model": model, "seconds": seconds, "bytes": len(content)})
