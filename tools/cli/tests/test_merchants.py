"""`jawab merchants` refuses what would only fail once a customer needs somebody."""

from collections.abc import Callable

import pytest

Jawab = Callable[..., tuple[int, str, str]]


def test_where_people_are_told_must_be_an_address(jawab: Jawab, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENCRYPTION_KEY", "k" * 32)
    environment.setenv("MONGODB_URL", "mongodb://127.0.0.1:1/jawab")
    environment.setenv("MONGODB_TIMEOUT", "0.05")
    code, _, err = jawab("merchants", "add", "dar", "--update", "--operator-webhook", "hooks.example/key-of-the-shop")
    assert code == 1
    assert "--operator-webhook must begin with http:// or https:// and name a host" in err
    assert "key-of-the-shop" not in err
