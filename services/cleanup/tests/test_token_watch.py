"""What is known of the end of each token: an account whose token ends unseen stops without a word."""

from datetime import UTC, datetime, timedelta

import pytest

from cleanup.token_watch import count_ends, end_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ends", "known"),
    [
        (NOW + timedelta(days=5), "known"),
        (NOW + timedelta(days=5) - timedelta(seconds=1), "soon"),
        (NOW - timedelta(days=1), "soon"),
        (None, "unknown"),
        ("next week", "unknown"),
        ("2026-03-09T00:00:00", "unknown"),
    ],
)
def test_a_token_is_known_near_its_end_or_unknown(ends: object, known: str):
    told = ends.isoformat() if isinstance(ends, datetime) else ends
    assert end_of({"token_expires_at": told}, NOW) == known


def test_every_account_with_a_token_is_counted_once():
    other = {"account_id": "2", "access_token": "x", "token_expires_at": (NOW + timedelta(days=50)).isoformat()}
    documents = [{"account_id": "1", "access_token": "x", "other_accounts": [other, {"account_id": "3"}]}, {"odd": 1}]
    assert dict(count_ends(documents, NOW)) == {"unknown": 1, "known": 1}
