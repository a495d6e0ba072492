"""Folding: what people vary without meaning anything by it goes away, and nothing else does."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.folding import arabic_stems, fold, words


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("PRIX ?", "prix"),
        ("Génial !!!", "genial"),
        ("déçu", "decu"),
        ("Cœur", "coeur"),
        ("c’est  combien\n?", "c est combien"),
        ("مَرْحَباً", "مرحبا"),
        ("مـــرحبـا", "مرحبا"),
        ("أهلاً إلى آخر", "اهلا الي اخر"),
        ("مدرسة", "مدرسه"),
        ("على", "علي"),
        ("سعره ٢٥٠٠٠", "سعره 25000"),
        ("۱۲۳", "123"),
        ("heyyyyy", "hey"),
        ("مرحبااااا", "مرحبا"),
        ("1000 dinars", "1000 dinars"),
        ("𝓟𝓻𝓲𝔁 ＰＲＩＸ", "prix prix"),
        ("❤️🔥 wow 👍🏽", "wow"),
        ("don't isn’t", "do not is not"),
        ("p\u200br\u200bi\u200bx", "prix"),
        ("", ""),
        ("؟!…", ""),
    ],
)
def test_the_same_thing_typed_differently_folds_to_the_same(typed, folded):
    assert fold(typed) == folded


@given(st.text(max_size=300))
def test_folding_twice_changes_nothing(text):
    once = fold(text)
    assert fold(once) == once


@given(st.text(max_size=200))
def test_folding_does_not_depend_on_the_unicode_form_or_the_case(text):
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert fold(composed) == fold(decomposed)


@given(st.text(max_size=300))
def test_what_remains_is_words_between_single_spaces(text):
    assert fold(text) == " ".join(words(text))
    assert all(character.isalnum() for word in words(text) for character in word)


@pytest.mark.parametrize(
    ("word", "stem"),
    [("والسعر", "سعر"), ("بالسعر", "سعر"), ("السعر", "سعر"), ("بسعر", "سعر"), ("للسعر", "سعر"), ("هالسعر", "سعر")],
)
def test_arabic_particles_are_taken_off(word, stem):
    assert stem in arabic_stems(word)


def test_a_short_or_latin_word_has_no_stem_but_itself():
    assert arabic_stems("بكم") == ("بكم",)
    assert arabic_stems("prix") == ("prix",)
    assert arabic_stems("") == ("",)
