"""Synthetic media, made when asked for: recordings that carry their own words, and plain images.

A recording is a WAV file with a tone in it and the words in a comment beside it, where the sandbox's transcription
finds them again: what a customer "said" arrives only if the bytes went the whole way.
"""

import math
import struct
import zlib

RATE = 8000
"""Samples a second."""
_TONE_HERTZ = 440
_LOUDNESS = 40
_SILENT = 128


def recording(words: str, *, seconds: float = 1.0) -> bytes:
    """Return a WAV file of that length in which `words` are said."""
    samples = bytes(
        _SILENT + round(_LOUDNESS * math.sin(2 * math.pi * _TONE_HERTZ * number / RATE))
        for number in range(max(1, round(seconds * RATE)))
    )
    layout = struct.pack("<HHIIHH", 1, 1, RATE, RATE, 1, 8)
    comment = b"INFO" + _chunk(b"ICMT", words.encode())
    return _chunk(b"RIFF", b"WAVE" + _chunk(b"fmt ", layout) + _chunk(b"LIST", comment) + _chunk(b"data", samples))


def words_in(content: bytes) -> str | None:
    """Return what is said in a recording of ours, "" where it is nothing; None for what is no recording."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    comments = _chunks(_chunks(content[12:]).get(b"LIST", b"")[4:])
    return comments.get(b"ICMT", b"").decode("utf-8", "replace")


def seconds_of(content: bytes) -> float:
    """Return how long a recording of ours is."""
    return len(_chunks(content[12:]).get(b"data", b"")) / RATE


def image(colour: tuple[int, int, int] = (178, 34, 34), *, side: int = 16) -> bytes:
    """Return a PNG of one colour."""
    rows = (b"\x00" + bytes(colour) * side) * side
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)


def _chunks(content: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        found[content[place : place + 4]] = content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return found
