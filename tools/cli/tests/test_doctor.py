"""`jawab doctor` as a whole: what is away fails its own lines, and the code says whether all is well."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Jawab = Callable[..., tuple[int, str, str]]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def away(environment: pytest.MonkeyPatch) -> None:
    """Nothing is there."""
    for name, value in {
        "JAWAB_ENV": "development",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "MONGODB_URL": "mongodb://127.0.0.1:1/jawab",
        "OPENAI_BASE_URL": NOWHERE,
        "INSTAGRAM_GRAPH_URL": NOWHERE,
        "MANYCHAT_BASE_URL": NOWHERE,
    }.items():
        environment.setenv(name, value)


@pytest.mark.usefixtures("away")
def test_with_everything_away_every_line_still_comes_with_its_fix(jawab: Jawab) -> None:
    addresses = ("--url", NOWHERE, "--ai", NOWHERE, "--delivery", NOWHERE, "--cleanup", NOWHERE)
    code, out, err = jawab("doctor", "--patience", "3s", *addresses, "--json")
    told = json.loads(out)
    findings = {(finding["group"], finding["name"]): finding for finding in told["findings"]}
    assert (code, told["healthy"]) == (1, False)
    assert "Traceback" not in err
    assert findings["environment", "variables of cleanup"]["state"] == "ok"
    assert findings["kafka", "reachable"]["state"] == "wrong"
    assert findings["kafka", "topics"]["state"] == "not_looked"
    assert findings["mongodb", "reachable"]["state"] == "wrong"
    assert findings["mongodb", "abilities"]["state"] == "not_looked"
    assert {findings["services", name]["state"] for name in ("ingest", "ai", "delivery", "cleanup")} == {"wrong"}
    assert all(finding["fix"] for finding in told["findings"] if finding["state"] == "wrong")


@pytest.mark.usefixtures("away")
def test_one_group_can_be_looked_at_alone(jawab: Jawab, serving: Any) -> None:
    with serving(lambda *_: (200, b"{}")) as url:
        code, out, _ = jawab(
            "doctor", "--only", "services", "--url", url, "--ai", url, "--delivery", url, "--cleanup", url
        )
    assert code == 0
    assert "Kafka" not in out
    assert "5 of 5 are well." in out
    assert "Next: jawab simulate dm --wait" in out


def test_a_senseless_patience_is_refused(jawab: Jawab) -> None:
    code, _, err = jawab("doctor", "--patience", "soon")
    assert code == 1
    assert "--patience" in err
