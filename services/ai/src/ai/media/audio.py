"""What kind of recording some bytes are, by what they begin with: content types of recordings are often wrong. Pure.

Voice messages come as MPEG-4 and are called `video/mp4`, `audio/mp4` or `application/octet-stream`. OpenAI tells
formats apart by the name of the file, so the name has to be right: flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav, webm
(https://developers.openai.com/api/docs/guides/speech-to-text).
"""

from collections.abc import Collection
from typing import Final

RECORDINGS: Final[Collection[str]] = (
    "audio/",
    "video/mp4",
    "video/webm",
    "application/ogg",
    "application/octet-stream",
)
"""How the content type of a recording begins."""

_SYNC, _SYNC_BITS, _LAYER_BITS = 0xFF, 0xE0, 0x06


def format_of(content: bytes) -> str | None:
    """Return the file name's ending, or None for what cannot be transcribed."""
    if content[4:8] == b"ftyp":
        return "mp4"
    if content[:4] == b"OggS":
        return "ogg"
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "wav"
    if content[:4] == b"fLaC":
        return "flac"
    if content[:4] == b"\x1aE\xdf\xa3":
        return "webm"
    if content[:3] == b"ID3" or _is_mpeg_layer(content[:2]):
        return "mp3"
    return None


def _is_mpeg_layer(start: bytes) -> bool:
    """Tell whether a frame of MPEG audio begins here. The layer 0 is a frame of AAC, which nobody takes bare."""
    return (
        len(start) == len(b"..")
        and start[0] == _SYNC
        and start[1] & _SYNC_BITS == _SYNC_BITS
        and bool(start[1] & _LAYER_BITS)
    )
