"""What a recording is, by how it begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.media.audio import format_of


@pytest.mark.parametrize(
    ("start", "ending"),
    [
        (b"\x00\x00\x00\x20ftypisom", "mp4"),
        (b"\x00\x00\x00\x20ftypM4A ", "mp4"),
        (b"OggS\x00\x02", "ogg"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav"),
        (b"fLaC\x00", "flac"),
        (b"\x1aE\xdf\xa3\x9fB", "webm"),
        (b"ID3\x04\x00", "mp3"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xf3\x84", "mp3"),
        (b"\xff\xf1\x50", None),  # bare AAC, which the API does not take
        (b"RIFF\x24\x00\x00\x00WEBP", None),
        (b"\x89PNG\r\n", None),
        (b"<!DOCTYPE html>", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_format_is_known_by_its_first_bytes(start, ending):
    assert format_of(start) == ending


@given(st.binary(max_size=40))
def test_any_bytes_have_a_format_or_none(content):
    assert format_of(content) in {None, "mp4", "ogg", "wav", "flac", "webm", "mp3"}
