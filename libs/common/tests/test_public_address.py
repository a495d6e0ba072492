"""What the internet can reach is never taken for local."""

import pytest

from common.public_address import is_local


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "https://LOCALHOST./",
        "http://127.0.0.1",
        "http://127.9.9.9:1",
        "http://[::1]:8000/a",
        "http://0.0.0.0:8000",
        "http://10.1.2.3",
        "http://192.168.1.5:8000",
        "http://ingest:8000",
        "http://jawab.localhost",
        "http://shop.test",
    ],
)
def test_addresses_of_ones_own(url):
    assert is_local(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://jawab.example.com",
        "https://abc.ngrok-free.app/",
        "https://8.8.8.8",
        "https://[2606:4700::1111]",
        "https://localhost.evil.example",
        "https://localhost@evil.example",
        "https://134744072",  # 8.8.8.8 in one number
        "https://0x08080808",
        "https://[::1",
        "https://",
        "",
    ],
)
def test_addresses_that_others_may_reach(url):
    assert not is_local(url)
