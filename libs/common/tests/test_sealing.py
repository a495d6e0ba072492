"""Sealing merchants' keys."""

import pytest

from common.sealing import NotOpenable, Sealer

OLD, NEW = "a" * 32, "b" * 32


def test_what_was_sealed_opens_again_and_does_not_show_what_it_holds():
    sealer = Sealer([OLD])
    sealed = sealer.seal("EAAG-token")
    assert sealer.open(sealed) == "EAAG-token"
    assert "EAAG" not in sealed


def test_a_new_key_in_front_still_opens_what_the_old_one_sealed():
    sealed = Sealer([OLD]).seal("token")
    assert Sealer([NEW, OLD]).open(sealed) == "token"


def test_the_newest_key_seals():
    sealed = Sealer([NEW, OLD]).seal("token")
    assert Sealer([NEW]).open(sealed) == "token"


def test_a_missing_key_says_what_to_do():
    with pytest.raises(NotOpenable, match="behind the new one"):
        Sealer([NEW]).open(Sealer([OLD]).seal("token"))


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "é" * 32])
def test_a_key_that_is_not_32_ascii_characters_is_refused(key):
    with pytest.raises(ValueError, match="exactly 32 ASCII characters"):
        Sealer([key])
