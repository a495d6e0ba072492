"""What can be armed, where, and by whom."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from common import failpoints
from common.settings import ServiceSettings


def test_every_place_is_in_the_code_exactly_once(project_root: Path):
    sources = [*project_root.glob("services/*/src/**/*.py"), *project_root.glob("libs/common/src/**/*.py")]
    found = [name for source in sources for name in re.findall(r'failpoint\(\s*"([^"]+)"', source.read_text())]
    assert sorted(found) == sorted(failpoints.PLACES)


def test_every_sabotage_is_in_the_code(project_root: Path):
    sources = [*project_root.glob("services/*/src/**/*.py"), *project_root.glob("libs/common/src/**/*.py")]
    found = {name for source in sources for name in re.findall(r'sabotaged\(\s*"([^"]+)"', source.read_text())}
    assert found == set(failpoints.SABOTAGES)


@pytest.mark.parametrize("setting", ["nowhere", "delivery.before_claim=0", "delivery.before_claim=x", "=3"])
def test_what_is_no_failpoint_is_refused(setting):
    with pytest.raises(ValueError, match=r"no failpoint|1 or more"):
        failpoints.parse(setting)


def test_production_cannot_arm_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAWAB_FAILPOINT", "delivery.before_claim")
    with pytest.raises(ValidationError, match="die or lose a guarantee on purpose"):
        ServiceSettings(environment="production")
    assert ServiceSettings(environment="development").failpoint == "delivery.before_claim"


def test_an_armed_place_kills_at_the_pass_it_names():
    program = (
        "from common.failpoints import arm, failpoint\n"
        "arm('delivery.before_claim=3')\n"
        "for passed in range(5):\n"
        "    print(passed, flush=True)\n"
        "    failpoint('delivery.before_claim')\n"
        "    failpoint('ai.after_publish_before_done')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.splitlines()[-3:] == ["0", "1", "2"]
