"""How the limits are configured, and what is said of a setting that is wrong."""

import pytest
from pydantic import ValidationError

from common.service import misconfiguration
from delivery.pace.rate_limits import DEFAULTS, Limit
from delivery.settings import Settings

REQUIRED = {
    "JAWAB_ENV": "development",
    "ENCRYPTION_KEY": "k" * 32,
    "JWT_SECRET": "a secret of the right length for HS256",
}


def settings(monkeypatch, **environment):
    for name, value in {**REQUIRED, **environment}.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_without_a_word_the_documented_limits_hold_and_nothing_is_shared(monkeypatch):
    read = settings(monkeypatch)
    assert (read.limits, read.limits_url, read.replicas) == (DEFAULTS, None, 1)


def test_limits_and_the_place_where_they_are_counted_come_from_the_environment(monkeypatch):
    read = settings(
        monkeypatch,
        DELIVERY_LIMITS="message=300/second",
        DELIVERY_LIMITS_URL="valkey://:secret@count:6379",
        DELIVERY_REPLICAS="4",
    )
    assert read.limits == {**DEFAULTS, "message": Limit(300, 1)}
    assert read.limits_url is not None
    assert read.limits_url.get_secret_value() == "valkey://:secret@count:6379"
    assert "secret@" not in repr(read)
    assert read.replicas == 4


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DELIVERY_LIMITS", "texts=3/second", "the name one of message"),
        ("DELIVERY_LIMITS_URL", "http://count", "must begin with redis://"),
        ("DELIVERY_LIMITS_URL", "redis://count", "must name host and port"),
        ("DELIVERY_LIMITS_URL", "redis://:6379", "must name host and port"),
        ("DELIVERY_LIMITS_URL", "redis://count:redis", "must name host and port"),
        ("INSTAGRAM_GRAPH_URL", "https://graph.example:abc/v25.0", "the number behind its colon"),
        ("INSTAGRAM_GRAPH_URL", "https://graph.example:99999/v25.0", "a number up to 65535"),
        ("MANYCHAT_BASE_URL", "https://api.manychat.com /", "no white space"),
        ("DELIVERY_REPLICAS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_should_be(monkeypatch, name, value, says):
    with pytest.raises(ValidationError) as wrong:
        settings(monkeypatch, **{name: value})
    assert name in str(wrong.value)
    assert says in str(wrong.value)


def test_a_password_that_breaks_the_address_of_the_count_is_not_told(monkeypatch):
    with pytest.raises(ValidationError) as wrong:
        settings(monkeypatch, DELIVERY_LIMITS_URL="redis://:top/secret@count:6379")
    assert "%2F" in str(wrong.value)
    assert "secret@" not in misconfiguration(wrong.value)
