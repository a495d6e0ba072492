"""A wrong environment stops ingest with one line that names the variable."""

import os
import subprocess
import sys

import pytest

GOOD = {
    "JAWAB_ENV": "development",
    "META_APP_SECRET": "mon_secret_webhook_instagram",
    "IG_VERIFY_TOKEN": "mon_token_verification_instagram",
}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"META_APP_SECRET": ""}, "META_APP_SECRET"),
        ({"META_APP_SECRET": " , "}, "META_APP_SECRET"),
        ({"IG_VERIFY_TOKEN": ""}, "IG_VERIFY_TOKEN"),
        ({"IG_VERIFY_TOKEN": "  "}, "IG_VERIFY_TOKEN"),
        ({"PUBLIC_URL": "jawab.example"}, "PUBLIC_URL"),
        ({"INGEST_ACK_DEADLINE": "soon"}, "INGEST_ACK_DEADLINE"),
        ({"INGEST_MAX_IN_FLIGHT": "0"}, "INGEST_MAX_IN_FLIGHT"),
        ({"JAWAB_ENV": "production"}, "development value"),
        ({"JAWAB_ENV": ""}, "development value"),
    ],
)
def test_a_wrong_variable_is_named_in_one_line_and_nothing_starts(changed, says):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}}
    done = subprocess.run(
        [sys.executable, "-m", "ingest"],
        env=kept | GOOD | changed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ingest cannot start: ")
    assert says in done.stderr
