"""The sandbox platform's own clock, which may differ from everybody else's."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings


@pytest.mark.parametrize("offset", [0.0, 120.0, -120.0])
def test_its_answers_are_dated_by_its_own_clock(offset):
    with running_sandbox(SandboxSettings(port=0, clock_offset=offset)) as url:
        response = httpx2.get(f"{url}/graph/v25.0/me")
    assert len(response.headers.get_list("date")) == 1
    ahead = (parsedate_to_datetime(response.headers["date"]) - datetime.now(UTC)).total_seconds()
    assert offset - 3 <= ahead <= offset + 1
