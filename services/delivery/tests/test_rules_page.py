"""docs/rules.md tells a merchant every reason for which the rules withhold a reply."""

import inspect
import re
from pathlib import Path

from delivery.platforms.sending import ALREADY_ANSWERED
from delivery.rules import policy

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")


def test_the_page_lists_every_reason_and_no_other():
    given = set(re.findall(r'Withhold\(\s*"(\w+)"', inspect.getsource(policy)))
    given |= {policy.WINDOW_CLOSED, ALREADY_ANSWERED}
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Reasons")[2], re.MULTILINE))
    assert listed == given
