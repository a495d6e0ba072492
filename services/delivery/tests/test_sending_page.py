"""docs/sending.md tells an operator every action, every route and every limit, and nothing else."""

import inspect
import re
from pathlib import Path

from delivery.platforms import content_limits
from delivery.platforms.routing import CAN

PAGE = (Path(__file__).parents[3] / "docs" / "sending.md").read_text(encoding="utf-8")


def test_the_page_tells_for_every_action_which_routes_can_do_it():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w ]+) \|", PAGE, re.MULTILINE)
    listed = {
        kind: frozenset(route for route, can in (("graph", graph), ("manychat", manychat)) if can != "no")
        for kind, graph, manychat in rows
    }
    assert listed == CAN


def test_the_page_lists_every_limit_and_no_other():
    source = inspect.getsource(content_limits)
    given = set(re.findall(r'(?:Breach|_at_most)\(\s*"(\w+)"', source))
    for title in re.findall(r'_title\(\s*"(\w+)"', source):
        given |= {f"{title}_too_long", f"{title}_empty"}
    limits = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+) \|", limits, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(first_cells))) == given
