"""What may not reach a log does not reach it."""

import json
import logging

import pytest
import structlog

from common.log import HIDDEN, configure_logging, redact
from common.service import run
from common.settings import ServiceSettings


@pytest.mark.parametrize(
    "name",
    ["access_token", "app_secret", "authorization", "text", "message_text", "body", "payload", "phone", "lead", "jwt"],
)
def test_a_value_under_a_telling_name_is_hidden(name):
    assert redact(None, "", {"event": "x", name: "anything"})[name] == HIDDEN


def test_a_count_under_a_telling_name_stays():
    assert redact(None, "", {"event": "x", "tokens": 37})["tokens"] == 37


@pytest.mark.parametrize(
    "value",
    [
        "Authorization: Bearer EAAGm0PX4ZCpsBA",
        "https://graph.example/me?access_token=EAAGm0PX4ZCpsBA&x=1",
        "mongodb://user:EAAGm0PX4ZCpsBA@host/db",
        "sha256=EAAGm0PX4ZCpsBA",
    ],
)
def test_a_secret_inside_a_sentence_is_hidden(value):
    assert "EAAGm0PX4ZCpsBA" not in redact(None, "", {"event": "x", "detail": value})["detail"]


def test_a_long_value_is_cut():
    assert len(redact(None, "", {"event": "x", "detail": "a" * 10_000})["detail"]) == 300


def test_an_exception_leaves_its_class_and_place_but_not_its_message(capsys):
    configure_logging("test")
    try:
        raise ValueError("Ahmed wrote hello")
    except ValueError:
        structlog.get_logger().exception("it.broke")
    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "it.broke"
    assert line["exception"] == "ValueError"
    assert line["at"].startswith("test_log.py:")
    assert "Ahmed" not in json.dumps(line)


def test_what_libraries_log_goes_through_the_same_redaction(capsys):
    configure_logging("test")
    logging.getLogger("some.library").error("failed with access_token=EAAGm0PX4ZCpsBA")
    logging.getLogger("some.library").info("not interesting")
    out = capsys.readouterr().out
    assert "some.library" in out
    assert "EAAGm0PX4ZCpsBA" not in out
    assert "not interesting" not in out


def test_of_an_exception_that_nobody_fetched_a_library_tells_no_message(capsys):
    configure_logging("test")
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <ValueError('Ahmed wrote hello')>")
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["logger"]) == ("Task exception was never retrieved", "asyncio")
    assert "Ahmed" not in str(line)


def test_what_the_wiring_says_is_a_line_of_the_log_like_every_other(capsys, monkeypatch):
    monkeypatch.setenv("JAWAB_ENV", "development")
    monkeypatch.setenv("LOG_FORMAT", "json")

    def create_app(_):
        structlog.get_logger().info("limits.counted", replicas=1)
        raise ValueError("enough")

    with pytest.raises(SystemExit):
        run("delivery", ServiceSettings, create_app)
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["replicas"], told["service"]) == ("limits.counted", 1, "delivery")
