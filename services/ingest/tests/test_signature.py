"""Only Meta gets in. Expected digests were made with `openssl dgst -sha256 -hmac <secret>`, not with our own code."""

import json

import pytest

from ingest.signature import Refusal, is_one_of, refusal

FIRST, SECOND = "first-app-secret-of-the-tests", "second-app-secret-of-the-tests"

ARABIC = (
    rb'{"object":"instagram","entry":[{"id":"17841466000000001","time":1763740800123,"messaging":[{"sender":'
    rb'{"id":"729300000000011"},"recipient":{"id":"17841466000000001"},"timestamp":1763740799871,"message":'
    rb'{"mid":"aWdfZAG1fMDAx","text":"\u0634\u0644\u0648\u0646\u0643\u0645\u061f \u0634\u06af\u062f '
    rb'\u0633\u0639\u0631 \u0627\u0644\u062c\u0646\u0637\u0629 \ud83d\udc5c"}}]}]}'
)
SPACED = (
    rb'{"object": "instagram", "entry": [{"id": "17841466000000001", "time": 1763740802, "changes": [{"field": '
    rb'"comments", "value": {"id": "18050000000000077", "from": {"id": "729300000000012", "username": "lina.tn"}, '
    rb'"media": {"id": "17970000000000005", "media_product_type": "REELS"}, "text": "G\u00e9nial \u2764\ufe0f, '
    rb'o\u00f9 commander ?"}}]}]}'
)
SLASHES = (
    rb'{"object":"instagram","entry":[{"id":"17841466000000001","time":1763740805000,"messaging":[{"sender":'
    rb'{"id":"729300000000013"},"recipient":{"id":"17841466000000001"},"timestamp":1763740804500,"message":'
    rb'{"mid":"aWdfZAG1fMDAz","attachments":[{"type":"image","payload":{"url":'
    rb'"https:\/\/cdn.example.net\/i\/77?sig=x%2F1"}}]}}]}]}'
)

VECTORS = [
    (ARABIC, FIRST, "07422337a98978b271289324390deaa4cec93b30aa397bc5b5b33089d6fc4ab1"),
    (ARABIC, SECOND, "bb6fad7adfec254f7ae3a1f92ac25d03232b8c4235a451947becd0aaeb3bfb48"),
    (SPACED, FIRST, "5bc38297ab19780fd0dc029c9920ec7ffb5a868ca9314173e715e629cf8740f5"),
    (SPACED, SECOND, "848561ffd5f252ca308771bd92a715f66ad9108ecb44b966853d7427db4391ae"),
    (SLASHES, FIRST, "cae06c0d8360031cb362ab905e185a8f5eaacbe2e7e5b5b6ca4cd87913c83964"),
    (SLASHES, SECOND, "41bd143ea6272cc90deb11580787842bbbc2661fe4e26af486fe9ad20ef76b80"),
    (b"", FIRST, "e031e632c3d5f4018d2bf8f8ba30c81509fc412f76518608c1eeb078b222da58"),
]
VALID = "sha256=" + VECTORS[0][2]


@pytest.mark.parametrize(("body", "secret", "digest"), VECTORS)
def test_what_openssl_signs_is_accepted(body, secret, digest):
    assert refusal(f"sha256={digest}", body, (secret,)) is None


@pytest.mark.parametrize(("body", "secret", "digest"), VECTORS)
@pytest.mark.parametrize("secrets", [(FIRST, SECOND), (SECOND, FIRST), ("another", FIRST, SECOND)])
def test_every_live_secret_is_accepted_in_any_order(body, secret, digest, secrets):
    assert refusal(f"sha256={digest}", body, secrets) is None


@pytest.mark.parametrize(("body", "secret", "digest"), VECTORS)
def test_upper_case_hex_is_the_same_digest(body, secret, digest):
    assert refusal(f"sha256={digest.upper()}", body, (secret,)) is None


def test_raw_bytes_are_hashed_not_a_rewritten_body():
    """The same JSON value in other bytes has another signature, so parsing first would refuse Meta's own webhooks."""
    rewritten = json.dumps(json.loads(SLASHES), separators=(",", ":")).encode()
    assert json.loads(rewritten) == json.loads(SLASHES)
    assert refusal("sha256=" + VECTORS[4][2], rewritten, (FIRST,)) is Refusal.MISMATCH


@pytest.mark.parametrize("place", [0, 1, len(ARABIC) // 2, len(ARABIC) - 1])
def test_one_altered_byte_is_refused(place):
    altered = bytearray(ARABIC)
    altered[place] ^= 1
    assert refusal(VALID, bytes(altered), (FIRST, SECOND)) is Refusal.MISMATCH


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Refusal.MISSING),
        ("", Refusal.MISSING),
        ("sha1=41b7d0df8900d837763e35fe786fb4e0bed12216", Refusal.NOT_SHA256),
        (VECTORS[0][2], Refusal.NOT_SHA256),
        ("SHA256=" + VECTORS[0][2], Refusal.NOT_SHA256),
        (" " + VALID, Refusal.NOT_SHA256),
        ("sha256=", Refusal.MALFORMED),
        (VALID[:-1], Refusal.MALFORMED),
        (VALID + "0", Refusal.MALFORMED),
        (VALID[:-1] + "g", Refusal.MALFORMED),
        (VALID + "\n", Refusal.MALFORMED),
        (VALID[:-2] + " 1", Refusal.MALFORMED),
        ("sha256=" + "é" * 64, Refusal.NOT_ASCII),
        ("sha256=" + "٣" * 64, Refusal.NOT_ASCII),
        ("sha256=" + "0" * 64, Refusal.MISMATCH),
        ("sha256=" + VECTORS[1][2], Refusal.MISMATCH),
    ],
)
def test_every_other_header_is_refused_with_its_reason(header, expected):
    given = refusal(header, ARABIC, (FIRST,))
    assert given is expected
    assert given.detail.startswith("X-Hub-Signature-256")


def test_without_a_secret_nothing_is_accepted():
    assert refusal(VALID, ARABIC, ()) is Refusal.MISMATCH


def test_a_shared_secret_is_compared_whatever_the_text():
    assert is_one_of("abc", ("x", "abc"))
    assert is_one_of("سر", ("سر",))
    for wrong in (None, "", "ab", "abcd", "é", "\udcff", "سر"):
        assert not is_one_of(wrong, ("x", "abc"))
    assert not is_one_of("", ("",))
    assert not is_one_of("abc", ())
