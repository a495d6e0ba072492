"""Folding: what people vary without meaning anything by it goes away, and nothing else does."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.arabic_letters import BLOCKS, FORMS, MARKS_BY_THEMSELVES, PLAIN, STROKES, arabic
from ai.folding import arabic_stems, fold, symbols, words

ARABIC = "ءابتثجحخدذرزسشصضطظعغفقكلمنهوي"
"""The letters of the Arabic language, in their plainest spelling."""

OTHER_LANGUAGES = (
    "ٹٺٻټٽٿڀځڂڃڄڅڇڿ"  # Urdu, Sindhi, Pashto
    "ڈډڊڋڌڍڎڏڐڑڒړڔږڗڙۮۯ"
    "ښڛڜڝڞڟڠڦڶڷڸڹڻڼڽۺۻۼ"
    "ݐݑݒݓݔݕݖݗݘݙݚݛݜݝݞݟݠݡݥݦݧݨݩݪݫݬݭݮݯݰݱݲݼݽݾ"  # Africa, Khowar, Torwali, Burushaski
    "ࢉࢊࢋࢌࢠࢡࢢࢣࢤࢥࢦࢧࢪࢮࢯࢲࢳࢶࢷࢸࢹࢾࢿࣀࣁࣃࣅࣆࣇࣈ"
    "\u088f\U00010ec2\U00010ec3\U00010ec4\U00010ec5\U00010ec6\U00010ec7"  # Unicode 16 and 17
)
"""Letters for sounds that Arabic does not have, or that no Iraqi writes: deliberately left as they are."""

LETTERS = [
    character
    for first, last in BLOCKS
    for character in map(chr, range(first, last + 1))
    if unicodedata.category(character).startswith("L")
]


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
        ("ھلا", "هلا"),
        ("سعرہ", "سعره"),
        ("مدرسۃ شکراً ڪلش هەلا", "مدرسه شكرا كلش ههلا"),
        ("بشگد", "بشكد"),
        ("شلونچ", "شلونج"),
        ("ڤستان پلاستك ژاكيت", "فستان بلاستك زاكيت"),
        ("کی ېوم ےوم", "كي يوم يوم"),
        ("ﻣﺮﺣﺒﺎ 𞺌", "مرحبا م"),
        ("مرﹶحبا", "مرحبا"),
        ("سعر\u200cالفستان", "سعر الفستان"),
        ("سعر\u200c\u200f\u200cالفستان", "سعر الفستان"),
        ("\u2067سعر\u2069\u2066iPhone\u2069", "سعر iphone"),
        ("سعر\u200eiPhone", "سعر iphone"),
        ("\u202bمر\u200fح\u200dبا\u202c", "مرحبا"),
        ("pri\u200cx", "prix"),
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


@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: f"U+{ord(letter):04X}")
def test_each_letter_of_the_arabic_script_is_an_arabic_letter_a_form_of_one_another_languages_or_a_mark(letter):
    folded = fold(letter)
    parts = [part for part in unicodedata.normalize("NFKD", letter) if part.isalpha()]
    if set(parts) <= set(STROKES):
        assert folded == ""
    else:
        assert set(folded) <= set(ARABIC + OTHER_LANGUAGES + " "), unicodedata.name(letter)
        assert folded
    assert fold(f"1{letter}2") == f"1{folded}2", "it is no end of a word"


def test_the_table_names_no_letter_twice_and_maps_only_to_arabic_letters():
    forms = "".join(FORMS.values())
    groups = [*forms, *STROKES, *MARKS_BY_THEMSELVES, *OTHER_LANGUAGES, *ARABIC]
    assert len(groups) == len(set(groups))
    assert set(FORMS) <= set(ARABIC)
    assert all(PLAIN[ord(form)] in FORMS for form in forms)
    assert all(map(arabic, forms))


@given(st.text(alphabet=[*ARABIC, *"ھہکیگچۃ", *"\u200c\u200d\u200e\u200f\u2066\u2069\u064b ", *"ab1"], max_size=30))
def test_invisible_characters_and_forms_change_nothing_but_where_words_end(text):
    once = fold(text)
    assert fold(once) == once
    plain = "".join(" " if c == " " else c for c in text if not 0x200C <= ord(c) <= 0x2069)
    assert once.replace(" ", "") == fold(plain).replace(" ", "") or any(c * 3 in once + fold(plain) for c in set(text))


@pytest.mark.parametrize(
    "variant",
    ["👍🏽", "👍🏻", "👍🏿", "👍\ufe0f", " 👍🏽 ", "👍\u200f", "\u200e👍\u061c", "\ufeff👍\u200d", "👍\u00ad"],
)
def test_an_emoji_is_compared_without_its_skin_tone_and_its_variation_selector(variant):
    assert symbols(variant) == "👍"


def test_emoji_of_several_parts_keep_their_parts():
    assert symbols("👩🏽\u200d💻") == symbols("👩\u200d💻") != symbols("👩💻")
    assert symbols("❤️") == "❤"
    assert symbols("🏽") == ""
