"""The page a person gets behind the code of their request."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient
from pymongo.errors import ServerSelectionTimeoutError

from cleanup.records import Erasure
from cleanup.routes import privacy_routes
from cleanup.status import html_page, listed, status_of
from devkit.http_examples import differences, examples

ASKED = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
DONE = datetime(2026, 3, 1, 9, 6, tzinfo=UTC)
FOUND = {"messages": 12, "conversations": 1, "decisions": 0}


class KnownErasures:
    """Erasures in memory."""

    def __init__(self, *known: Erasure) -> None:
        self._known = {erasure.code: erasure for erasure in known}
        self.asked: list[str] = []

    async def find(self, code: str) -> Erasure | None:
        self.asked.append(code)
        return self._known.get(code)


class AwayErasures:
    """A database that cannot be reached."""

    async def find(self, code: str) -> Erasure | None:
        raise ServerSelectionTimeoutError("away")


def client(erasures: KnownErasures | AwayErasures) -> TestClient[Litestar]:
    return TestClient(Litestar(route_handlers=privacy_routes(erasures), openapi_config=None))


def erasure(state: str, **changes: object) -> Erasure:
    facts = {"code": "abc123", "state": state, "requested_at": ASKED, "done_at": DONE, "found": FOUND, **changes}
    return Erasure(**facts)  # type: ignore[arg-type]


def test_a_done_request_is_told_with_its_days_and_counts():
    with client(KnownErasures(erasure("erased"))) as http:
        answer = http.get("/privacy/abc123")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "Your data has been erased" in answer.text
    assert "1 March 2026, 09:06 UTC" in answer.text
    assert "12 messages and 1 conversation." in answer.text
    assert "answers that were decided" not in answer.text


def test_the_page_says_what_the_log_still_holds_and_for_how_long():
    page = html_page("c", status_of(erasure("erased")))
    assert "up to 14 days, up to 30 days for what could not be handled, and 90 days for the request itself" in page


def test_a_person_nobody_knows_is_told_so_instead_of_done():
    with client(KnownErasures(erasure("nobody", found={"messages": 0}))) as http:
        page = http.get("/privacy/abc123").text
    assert "We found nothing about you" in page
    assert "so nothing was erased" in page
    assert "has been erased" not in page


def test_a_request_in_progress_says_so():
    status = status_of(erasure("erasing", done_at=None))
    assert status.title == "Your data is being erased"
    assert not any("done on" in paragraph for paragraph in status.paragraphs)


def test_an_unknown_code_is_a_404_with_the_same_look():
    with client(KnownErasures(erasure("erased"))) as http:
        known, unknown = http.get("/privacy/abc123"), http.get("/privacy/other")
    assert unknown.status_code == 404
    style = re.search(r"<style>.*</style>", known.text)
    assert style is not None
    assert style[0] in unknown.text
    assert unknown.headers["content-security-policy"] == known.headers["content-security-policy"]


def test_no_search_engine_keeps_the_page_and_no_cache_does():
    with client(KnownErasures(erasure("erased"))) as http:
        answer = http.get("/privacy/abc123")
    assert "noindex" in answer.headers["x-robots-tag"]
    assert '<meta name="robots" content="noindex,nofollow">' in answer.text
    assert answer.headers["cache-control"] == "no-store"


@given(code=st.text(max_size=80))
def test_whatever_the_code_is_it_adds_no_markup(code: str):
    tags = re.compile(r"<[^>]*>")
    plain = tags.findall(html_page("plain", status_of(None)))
    assert tags.findall(html_page(code, status_of(None))) == plain


def test_a_code_with_markup_is_shown_as_text():
    with client(KnownErasures()) as http:
        answer = http.get("/privacy/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert answer.status_code == 404
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("*/*", "text/html"),
        ("image/png", "text/html"),
    ],
)
def test_json_comes_only_when_it_is_asked_for(accept: str, kind: str):
    with client(KnownErasures(erasure("erased"))) as http:
        answer = http.get("/privacy/abc123", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(kind)


def test_the_json_has_the_same_facts():
    with client(KnownErasures(erasure("erased"))) as http:
        known = http.get("/privacy/abc123", headers={"accept": "application/json"})
        unknown = http.get("/privacy/other", headers={"accept": "application/json"})
    assert known.json()["status"] == "erased"
    assert known.json()["found"] == FOUND
    assert known.json()["done_at"] == "2026-03-01T09:06:00+00:00"
    assert (unknown.status_code, unknown.json()["status"]) == (404, "unknown")


def test_a_code_of_absurd_length_never_reaches_the_database():
    erasures = KnownErasures()
    with client(erasures) as http:
        assert http.get("/privacy/" + "a" * 201).status_code == 404
    assert erasures.asked == []


def test_a_database_that_is_away_is_a_503_that_asks_for_patience():
    with client(AwayErasures()) as http:
        answer = http.get("/privacy/abc123")
    assert answer.status_code == 503
    assert "will be handled" in answer.text


@pytest.mark.parametrize(
    ("parts", "sentence"), [([], "nothing"), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_a_list_reads_like_a_sentence(parts: list[str], sentence: str):
    assert listed(parts) == sentence


def test_a_program_is_answered_as_the_documentation_shows(project_root: Path):
    page = (project_root / "docs" / "api-examples.md").read_text(encoding="utf-8")
    (shown,) = [one for one in examples(page) if one.path.startswith("/privacy/")]
    with client(KnownErasures(erasure("erased"))) as http:
        answer = http.get(shown.path, headers=shown.headers)
    assert (answer.status_code, differences(shown.answer, answer.json())) == (shown.status, [])
