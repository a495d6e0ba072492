"""Secrets come from the environment, a file or a prompt, never from the command line."""

from pathlib import Path

import pytest

from cli.failures import Failure
from cli.secret_sources import read_secret


def read(source: str, environment: dict[str, str] | None = None, typed: str = "") -> str | None:
    return read_secret(
        source, option="--access-token", asked_as="Token", environment=environment or {}, ask=lambda _: typed
    )


def test_every_source_gives_the_secret_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    assert read("env:TOKEN", {"TOKEN": "from-environment"}) == "from-environment"
    assert read(f"file:{tmp_path / 'token'}") == "from-file"
    assert read("prompt", typed=" typed ") == "typed"
    assert read_secret("stdin", option="--token", asked_as="Token", read=lambda most: "piped\n"[:most]) == "piped"


def test_none_and_nothing_typed_are_no_secret() -> None:
    assert read("none") is None
    assert read("prompt", typed="") is None


@pytest.mark.parametrize("source", ["IGAAxyz-secret", "env:", "file:", "https://x", ""])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(Failure) as caught:
        read(source)
    assert "takes a source, not the secret itself" in caught.value.reason
    assert "IGAAxyz" not in caught.value.reason + caught.value.fix


@pytest.mark.parametrize("value", ["two words", "two\nlines", "x" * 5000, "bell\x07"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(Failure, match="not one key or token") as caught:
        read("env:TOKEN", {"TOKEN": value})
    assert value not in str(caught.value)


def test_a_missing_variable_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="has no TOKEN"):
        read("env:TOKEN")
    with pytest.raises(Failure, match="nowhere cannot be read"):
        read(f"file:{tmp_path / 'nowhere'}")
