"""Sealing the keys and tokens of accounts."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from common.merchants import Account
from common.sealing import NONCE_BYTES, PREFIX, NotOpenable, Sealer

OLD, NEW = "a" * 32, "b" * 32
ACCOUNT, OTHER = "17841400000000001", "17841400000000002"
TOKEN = (ACCOUNT, "access_token")


def sealed_by_an_earlier_version(key, secret):
    return Fernet(base64.urlsafe_b64encode(key.encode())).encrypt(secret.encode()).decode()


def test_what_was_sealed_opens_again_and_does_not_show_what_it_holds():
    sealer = Sealer([OLD])
    sealed = sealer.seal("EAAG-token", *TOKEN)
    assert sealer.open(sealed, *TOKEN) == "EAAG-token"
    assert "EAAG" not in sealed


def test_the_same_secret_is_sealed_differently_each_time():
    sealer = Sealer([OLD])
    assert sealer.seal("token", *TOKEN) != sealer.seal("token", *TOKEN)


def test_a_new_key_in_front_still_opens_what_the_old_one_sealed():
    sealed = Sealer([OLD]).seal("token", *TOKEN)
    assert Sealer([NEW, OLD]).open(sealed, *TOKEN) == "token"


def test_the_newest_key_seals():
    sealed = Sealer([NEW, OLD]).seal("token", *TOKEN)
    assert Sealer([NEW]).open(sealed, *TOKEN) == "token"


@pytest.mark.parametrize("place", [(OTHER, "access_token"), (ACCOUNT, "manychat_api_key")])
def test_a_value_copied_to_another_account_or_field_does_not_open(place):
    sealer = Sealer([OLD])
    with pytest.raises(NotOpenable):
        sealer.open(sealer.seal("token", *TOKEN), *place)


def test_every_hexadecimal_digit_of_a_key_counts():
    """A key of 32 hexadecimal digits has 128 random bits; none of its halves may be all there is to guess."""
    key = "0123456789abcdef" * 2
    sealed = Sealer([key]).seal("token", *TOKEN)
    for at in (0, 15, 16, 31):
        with pytest.raises(NotOpenable):
            Sealer([f"{key[:at]}f{key[at + 1 :]}" if key[at] != "f" else f"{key[:at]}0{key[at + 1 :]}"]).open(
                sealed, *TOKEN
            )


def test_a_value_of_an_earlier_version_is_read_as_it_is_and_is_not_current():
    sealed = sealed_by_an_earlier_version(OLD, "token")
    sealer = Sealer([NEW, OLD])
    assert sealer.open(sealed, *TOKEN) == "token"
    assert not sealer.is_current(sealed, *TOKEN)


def test_only_what_the_newest_key_sealed_is_current():
    sealer = Sealer([NEW, OLD])
    assert sealer.is_current(sealer.seal("token", *TOKEN), *TOKEN)
    assert not sealer.is_current(Sealer([OLD]).seal("token", *TOKEN), *TOKEN)


def test_a_missing_key_says_what_to_do():
    with pytest.raises(NotOpenable, match="behind the new one"):
        Sealer([NEW]).open(Sealer([OLD]).seal("token", *TOKEN), *TOKEN)


@given(st.text())
def test_what_is_no_sealed_value_does_not_open(stored):
    with pytest.raises(NotOpenable):
        Sealer([OLD]).open(stored, *TOKEN)


@given(st.binary(max_size=NONCE_BYTES + 40))
def test_bytes_that_nobody_sealed_do_not_open(raw):
    with pytest.raises(NotOpenable):
        Sealer([OLD]).open(PREFIX + base64.urlsafe_b64encode(raw).decode(), *TOKEN)


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "é" * 32])
def test_a_key_that_is_not_32_ascii_characters_is_refused(key):
    with pytest.raises(ValueError, match="exactly 32 ASCII characters"):
        Sealer([key])


def test_an_account_opens_its_own_secrets():
    sealer = Sealer([OLD])
    account = Account(account_id=ACCOUNT, access_token=sealer.seal("token", *TOKEN))
    assert account.opened("access_token", sealer) == "token"
    assert account.opened("manychat_api_key", sealer) is None
