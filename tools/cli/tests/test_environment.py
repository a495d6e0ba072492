"""The environment as the commands see it."""

from pathlib import Path

import pytest

from cli.environment import first_of, needed, read_dotenv, settings
from cli.failures import Misconfigured
from common.settings import KafkaSettings


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('A=from file\nB="دار الأزياء"\n# C=commented\nD=${A}\n', encoding="utf-8")
    environment = {"A": "from environment"}
    assert read_dotenv(file, environment) == 2
    assert environment == {"A": "from environment", "B": "دار الأزياء", "D": "${A}"}


def test_no_file_adds_nothing(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env", {}) == 0


def test_a_file_that_is_not_text_is_said_and_not_raised_raw(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_dotenv(tmp_path / ".env", {})


def test_the_newest_secret_under_the_first_name_that_is_set_is_taken() -> None:
    assert first_of(("A", "B"), {"A": " ", "B": ",new, old"}) == "new"
    assert first_of(("A",), {}) is None


def test_a_missing_secret_says_which_variable_and_which_option() -> None:
    with pytest.raises(Misconfigured) as caught:
        needed(("META_APP_SECRET", "IG_APP_SECRET"), "--secret", {})
    assert "META_APP_SECRET or IG_APP_SECRET is not set" in caught.value.reason
    assert "--secret" in caught.value.fix


def test_wrong_settings_name_the_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_REQUEST_TIMEOUT", "soon")
    with pytest.raises(Misconfigured, match="KAFKA_REQUEST_TIMEOUT"):
        settings(KafkaSettings)
