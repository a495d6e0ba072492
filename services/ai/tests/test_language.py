"""Language detection in messages of a few words, in three languages and two scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.language import detect, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("هلو شلونك، شكد سعر هذا الفستان؟", "ar"),
        ("السلام عليكم", "ar"),
        ("عندكم iPhone 15 Pro Max؟", "ar"),
        ("بكم la robe؟", "ar"),
        ("shlonak, bikam hatha?", "ar"),
        ("salam 3alaykum", "ar"),
        ("7abibi wain el tawsil", "ar"),
        ("kam se3r el qamees", "ar"),
        ("\u0679ھیک", "ar"),
        ("ݒ\u200cࢠ", "ar"),
        ("ﻣﺮﺣﺒﺎ", "ar"),
        ("Bonjour", "fr"),
        ("C'est combien la robe ?", "fr"),
        ("vous livrez à Bagdad ?", "fr"),
        ("génial", "fr"),
        ("prix svp", "fr"),
        ("J'adore", "fr"),
        ("hello", "en"),
        ("How much is the red dress?", "en"),
        ("I'd like to order", "en"),
        ("it's broken", "en"),
        ("love it", "en"),
        ("is it available in size 42 for 2days delivery", "en"),
        ("merci, c'est top", "fr"),
    ],
)
def test_a_message_tells_its_language(text, language):
    assert detect(text) == language


@pytest.mark.parametrize("text", ["", "   ", "😍😍🔥", "ok", "12345", "👍🏽", "?", "b2b", "3rd", "XL"])
def test_some_messages_tell_nothing(text):
    assert detect(text) is None


def test_then_the_conversation_decides_then_arabic():
    assert language_of("😍", "fr") == "fr"
    assert language_of("😍", None, "en") == "en"
    assert language_of("😍", "de", None) == "ar"
    assert language_of("😍") == "ar"
    assert language_of("bonjour", "ar") == "fr"


@given(st.text(max_size=500), st.sampled_from(["ar", "fr", "en", None, "xx"]))
def test_there_is_always_a_language_to_answer_in(text, fallback):
    assert language_of(text, fallback) in {"ar", "fr", "en"}


@given(st.text(alphabet="ابتثجحخدذرزسشصضطظعغفقكلمنهوي ", min_size=1).filter(str.strip))
def test_arabic_script_alone_is_arabic(text):
    assert detect(text) == "ar"
