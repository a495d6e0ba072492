"""`python -m cleanup retention`: an exit code and one line, because a CronJob reads nothing else."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import ValidationError
from pymongo.errors import ServerSelectionTimeoutError

from cleanup.app import create_app
from cleanup.jobs import Job, Unfinished, run_job
from cleanup.settings import Settings
from common.service import misconfiguration


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A development environment; what a job sets up for logging does not outlive its test."""
    monkeypatch.setenv("JAWAB_ENV", "development")
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_an_unknown_job_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]):
    assert run_job("tidy") == 1
    assert only_line(capsys) == "cleanup: there is no job 'tidy'; there is: retention, tokens"


def test_a_wrong_setting_is_one_line_with_the_fix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("RETENTION_DELIVERIES_DAYS", "1")
    assert run_job("retention") == 1
    assert "RETENTION_DELIVERIES_DAYS must be at least 31" in only_line(capsys)


def test_a_database_that_is_away_is_one_line_without_its_address(capsys: pytest.CaptureFixture[str]):
    async def away(settings: Settings) -> None:
        raise ServerSelectionTimeoutError("mongodb://someone:hidden@db:27017: no answer")

    assert run_job("retention", {"retention": Job(away)}) == 1
    line = only_line(capsys)
    assert "retention stopped (ServerSelectionTimeoutError" in line
    assert "hidden" not in line


def test_a_job_that_did_its_work_ends_with_nought(capsys: pytest.CaptureFixture[str]):
    done = []

    async def work(settings: Settings) -> None:
        done.append(settings.messages_days)

    assert run_job("retention", {"retention": Job(work)}) == 0
    assert done == [365]
    assert capsys.readouterr().err == ""


def test_what_is_left_undone_is_said_and_tried_again(capsys: pytest.CaptureFixture[str]):
    async def work(settings: Settings) -> None:
        raise Unfinished("2 could not be renewed")

    assert run_job("tokens", {"tokens": Job(work)}) == 1
    assert only_line(capsys) == "cleanup: tokens: 2 could not be renewed; run it again"


def test_tokens_are_not_touched_without_the_key_that_opens_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("ENCRYPTION_KEY", raising=False)
    assert run_job("tokens") == 1
    assert "ENCRYPTION_KEY" in only_line(capsys)


def test_a_service_that_is_to_renew_tokens_does_not_start_without_the_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ENCRYPTION_KEY", raising=False)
    with pytest.raises(ValidationError) as refused:
        create_app(Settings(schedule="on"))
    said = misconfiguration(refused.value, Settings)
    assert "ENCRYPTION_KEY is not set" in said
    assert "\n" not in said
    create_app(Settings(schedule="off"))
