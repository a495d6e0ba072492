"""docs/events.md and the catalogue's bodies name the same rows, events and ids."""

import json
import re
from typing import get_args

import pytest

from common.events.envelope import TYPE_PREFIX
from common.events.schemas import event_classes

NAMED = re.compile(r"`([^`]+)`")
PLACE = re.compile(r"\\\{[a-z_]+\\\}")


@pytest.fixture(scope="module")
def documented(project_root):
    """The page's rows by name: the cells after it."""
    lines = (project_root / "docs" / "events.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert len({row[0] for row in cells}) == len(cells)
    return {row[0].strip("`"): row[1:] for row in cells}


@pytest.fixture(scope="module")
def tried(project_root):
    """The catalogue's rows by name."""
    path = project_root / "services" / "ingest" / "tests" / "catalogue.json"
    return {row["row"]: row for row in json.loads(path.read_text(encoding="utf-8"))}


def test_every_row_that_is_documented_is_tried_and_the_other_way_round(documented, tried):
    assert set(documented) == set(tried)


def test_every_row_says_which_events_it_becomes_and_who_handles_them(documented, tried):
    for name, (arrives_as, types, _, handled_by) in documented.items():
        became = {event["type"].removeprefix(TYPE_PREFIX).removesuffix(".v1") for event in tried[name]["events"]}
        assert set(NAMED.findall(types)) == became, name
        assert arrives_as, name
        assert handled_by, name


def test_every_id_is_made_as_the_page_says(documented, tried):
    for name, (_, _, ids, _) in documented.items():
        patterns = [PLACE.sub("[^:]*", re.escape(written)) for written in NAMED.findall(ids)]
        for event in tried[name]["events"]:
            made, mid = event["id"].removeprefix(event["data"]["account_id"] + ":"), event["data"].get("mid")
            if mid and ":" in mid:  # as Messenger's have
                made = made.replace(mid, "mid")
            assert any(re.fullmatch(pattern, made) for pattern in patterns), (name, event["id"], ids)


def test_every_type_of_event_that_webhooks_become_has_a_row(tried):
    from common.events.interactions import InteractionEvent

    union, *_ = get_args(InteractionEvent)
    known = {event_class.model_fields["type"].default for event_class in event_classes(union)}
    assert {event["type"] for row in tried.values() for event in row["events"]} == known
