"""A wrong environment stops ingest with one line that names the variable."""

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from common.service import misconfiguration
from ingest.settings import Settings

GOOD = {
    "JAWAB_ENV": "development",
    "META_APP_SECRET": "mon_secret_webhook_instagram",
    "IG_VERIFY_TOKEN": "mon_token_verification_instagram",
}

PRODUCTION = {
    "JAWAB_ENV": "production",
    "META_APP_SECRET": "an-app-secret-of-these-tests-of-32-chars",
    "IG_VERIFY_TOKEN": "a-verify-token-of-these-tests-of-32-chars",
}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"META_APP_SECRET": ""}, "META_APP_SECRET"),
        ({"META_APP_SECRET": " , "}, "META_APP_SECRET"),
        ({"IG_VERIFY_TOKEN": ""}, "IG_VERIFY_TOKEN"),
        ({"IG_VERIFY_TOKEN": "  "}, "IG_VERIFY_TOKEN"),
        ({"PUBLIC_URL": "jawab.example"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "https://jawab.example"}, "PUBLIC_URL is a public address"),
        ({"PUBLIC_URL": "http://8.8.8.8:8000"}, "PUBLIC_URL is a public address"),
        ({"INSTAGRAM_PAGE_ID": "@our.shop"}, "INSTAGRAM_PAGE_ID"),
        ({"INGEST_ACK_DEADLINE": "soon"}, "INGEST_ACK_DEADLINE"),
        ({"INGEST_MAX_IN_FLIGHT": "0"}, "INGEST_MAX_IN_FLIGHT"),
        ({"JAWAB_ENV": "production"}, "development value"),
        ({"JAWAB_ENV": ""}, "development value"),
    ],
)
def test_a_wrong_variable_is_named_in_one_line(monkeypatch, changed, says):
    for name, value in (GOOD | changed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    told = misconfiguration(refused.value)
    assert says in told
    assert "\n" not in told


def test_the_status_page_is_ours_unless_said_otherwise(monkeypatch):
    for name, value in (GOOD | PRODUCTION | {"PUBLIC_URL": "https://jawab.example/"}).items():
        monkeypatch.setenv(name, value)
    assert Settings().status_url == "https://jawab.example/privacy"
    monkeypatch.setenv("PRIVACY_STATUS_URL", "https://elsewhere.example/")
    assert Settings().status_url == "https://elsewhere.example"


def test_a_process_without_a_secret_ends_at_once_and_says_why():
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}}
    done = subprocess.run(
        [sys.executable, "-m", "ingest"],
        env=kept | GOOD | {"META_APP_SECRET": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ingest cannot start: META_APP_SECRET")
