"""Signatures against vectors made by the openssl command (``openssl dgst -sha256 -hmac <secret> <file>``)."""

import base64
import hashlib
import hmac
import json

from hypothesis import given
from hypothesis import strategies as st

from devkit.signing import serialise, sign, sign_legacy, signed_headers, signed_request

SECRET = "jawab_vector_secret"

MESSAGING = {
    "object": "instagram",
    "entry": [
        {
            "id": "17841400000000017",
            "time": 1760000000123,
            "messaging": [{"message": {"mid": "m1", "text": "شكد السعر؟ 😍 été"}}],
        }
    ],
}
MESSAGING_RAW = (
    rb'{"object":"instagram","entry":[{"id":"17841400000000017","time":1760000000123,"messaging":[{"message":'
    rb'{"mid":"m1","text":"\u0634\u0643\u062f \u0627\u0644\u0633\u0639\u0631\u061f \ud83d\ude0d '
    rb'\u00e9t\u00e9"}}]}]}'
)
COMMENTS = {
    "object": "instagram",
    "entry": [
        {
            "id": "17841400000000017",
            "time": 1760000000,
            "changes": [
                {
                    "field": "comments",
                    "value": {
                        "id": "18000000000000001",
                        "text": "génial 🔥",
                        "media": {
                            "id": "17900000000000001",
                            "permalink": "https://www.instagram.com/p/Cabc/",
                        },
                    },
                }
            ],
        }
    ],
}
COMMENTS_RAW = (
    rb'{"object": "instagram", "entry": [{"id": "17841400000000017", "time": 1760000000, "changes": '
    rb'[{"field": "comments", "value": {"id": "18000000000000001", "text": "g\u00e9nial \ud83d\udd25", '
    rb'"media": {"id": "17900000000000001", "permalink": "https:\/\/www.instagram.com\/p\/Cabc\/"}}}]}]}'
)


def test_a_compact_body_is_escaped_in_lower_case_hex_with_surrogate_pairs():
    assert serialise(MESSAGING) == MESSAGING_RAW


def test_a_spaced_body_with_escaped_slashes_is_written_as_the_platform_writes_comments():
    assert serialise(COMMENTS, style="spaced", escape_slashes=True) == COMMENTS_RAW


def test_signatures_equal_those_of_openssl():
    assert sign(MESSAGING_RAW, SECRET) == "sha256=8296edaa85734cb759ed9066f00a4e99de68f88ce26f634b7abf8080ed76cf30"
    assert sign(COMMENTS_RAW, SECRET) == "sha256=7a1301a91843b31a1520ab6de5d3c9790f9e92566a642a53ec1a5b39c2577258"
    assert sign_legacy(MESSAGING_RAW, SECRET) == "sha1=8dbd2da9bfda2f8ec90dcf59fb89ea0511b13b7f"


def test_the_headers_name_the_signature_and_the_content_type():
    assert signed_headers(MESSAGING_RAW, SECRET) == {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": sign(MESSAGING_RAW, SECRET),
    }


def test_a_signed_request_equals_the_one_made_with_openssl():
    payload = {"user_id": "10220000000000042", "algorithm": "HMAC-SHA256", "issued_at": 1760000000}
    assert signed_request(payload, SECRET) == (
        "3sR_TV0HtTAELoSg9T16OXP_YrzYv-VtDyw6DkYkiZ8."
        "eyJ1c2VyX2lkIjoiMTAyMjAwMDAwMDAwMDAwNDIiLCJhbGdvcml0aG0iOiJITUFDLVNIQTI1NiIsImlzc3VlZF9hdCI6MTc2MDAwMDAwMH0"
    )


def test_a_signed_request_signs_the_encoded_payload_and_carries_no_padding():
    signature, encoded = signed_request({"user_id": "7"}, SECRET).split(".")
    assert "=" not in signature + encoded
    expected = hmac.new(SECRET.encode(), encoded.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected


@given(st.recursive(st.text() | st.integers() | st.none(), lambda x: st.dictionaries(st.text(), x) | st.lists(x)))
def test_every_style_is_ascii_and_means_the_same(body):
    """No style loses a character, whatever the text."""
    for style in ("compact", "spaced"):
        for slashes in (False, True):
            raw = serialise(body, style=style, escape_slashes=slashes)
            assert raw.isascii()
            assert json.loads(raw) == body
