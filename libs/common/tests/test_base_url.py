"""What may be the address of an outside API."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base_url import base_url, whole_url


def test_blanks_around_it_and_a_slash_behind_it_are_no_part_of_it():
    assert base_url(" https://api.example/v1/\n") == "https://api.example/v1"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://[::1]:1/v25.0", "HTTPS://api.example"])
def test_an_address_a_call_can_be_made_with_is_taken(url):
    assert base_url(url) == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with http"),
        ("api.example/v1", "must begin with http"),
        ("ftp://api.example", "must begin with http"),
        ("https://", "must begin with http"),
        ("https://:443/v1", "must begin with http"),
        ("https://api.example:abc/v1", "behind"),
        ("https://api.example:99999", "behind"),
        ("https://[::1/v1", "IPv6 in brackets"),
        ("https://api. example/v1", "white space"),
        ("https://me:secret@api.example", "a plain address"),
        ("https://api.example/v1?key=1", "a plain address"),
        ("https://api.example/#v1", "a plain address"),
    ],
)
def test_an_address_that_would_fail_at_the_first_call_is_refused(url, says):
    with pytest.raises(ValueError, match=says) as refused:
        base_url(url)
    assert "secret" not in str(refused.value)


def test_an_address_that_is_called_as_it_is_keeps_its_query_and_its_end():
    assert whole_url(" https://hooks.example/jawab/?key=1\n") == "https://hooks.example/jawab/?key=1"
    with pytest.raises(ValueError, match="must begin with http"):
        whole_url("hooks.example/jawab")


@given(st.text("htps:/.[]@#?0159ab% \n", max_size=30).map(lambda rest: f"http://{rest}"))
def test_whatever_is_taken_the_http_client_takes_too(url):
    try:
        taken = base_url(url)
    except ValueError:
        return
    httpx2.URL(f"{taken}/messages")
