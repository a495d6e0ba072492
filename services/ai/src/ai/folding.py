"""Makes texts comparable: what a customer typed on a phone and what a merchant typed into a rule.

Folding takes away what people vary without meaning anything by it: case, accents, Arabic vowel marks and the
lengthening stroke, the spellings of alef, ya and ta marbuta, other keyboards' forms of Arabic letters
(`ai.arabic_letters`), the digits' script, typographic letters, punctuation, emoji, and letters held down ("heyyy").
What remains are words separated by single spaces. Of a message without words the symbols are compared instead, emoji
without their skin tone.
"""

import re
import unicodedata

from ai.arabic_letters import PLAIN, WITHOUT_MARKS, arabic, in_arabic_script

LONGEST = 2000
"""Characters of a message that are looked at: rules and word lists decide nothing beyond."""

_SAME_LETTER = PLAIN | str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ı": "i", "ł": "l"})
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]+")
_NON_JOINER = "\u200c"
"""Stands between two Arabic words where a Persian keyboard's half space was typed: سعر‌الفستان."""
_ISOLATES = frozenset("\u2066\u2067\u2068\u2069")
"""Stand around a run of another direction: a name, a number."""
_VARIANTS = dict.fromkeys((*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)), None)
"""How a symbol is to look: as text or as an emoji, and an emoji's skin tone."""
_UNSHOWN = dict.fromkeys(
    (0x00AD, 0x061C, 0x180E, 0x200B, 0x200C, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x206A)),
    None,
)
"""Marks of direction and blanks without width, which Arabic keyboards put around an emoji. Not a family's joiner."""
_NOT = re.compile(r"n['’ʼ´`]t\b", re.IGNORECASE)
_HELD_DOWN = re.compile(r"([^\W\d_])\1{2,}")
_DROPPED = frozenset({"Mn", "Me", "Cf"})
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"})


def fold(text: str) -> str:
    """Return the words of `text` in their plainest form, separated by single spaces; "" when there are none."""
    apart = _INVISIBLE.sub(_gap, text.translate(WITHOUT_MARKS))
    spelled_out = _NOT.sub(" not", apart)  # don't -> do not: a negation must survive the apostrophe
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", spelled_out).casefold())
    letters = "".join(map(_plain, decomposed)).translate(_SAME_LETTER)
    return " ".join(_HELD_DOWN.sub(r"\1", letters).split())


def words(text: str) -> tuple[str, ...]:
    """Return the folded words of `text`."""
    return tuple(fold(text).split())


def word_set(text: str) -> frozenset[str]:
    """Return a word list, written as text, in folded form."""
    return frozenset(words(text))


def symbols(text: str) -> str:
    """Return what is compared of a text without words: 👍🏽 as 👍, ❤️ as ❤, blanks and marks of direction left out."""
    return "".join(text.translate(_VARIANTS | _UNSHOWN).split()).strip("\u200d")


def without_punctuation(signs: str) -> str:
    """Return symbols without the punctuation among them, all of them where there is nothing else: 👍! as 👍, ؟ as ؟."""
    return "".join(one for one in signs if not unicodedata.category(one).startswith("P")) or signs


def _gap(run: re.Match[str]) -> str:
    """Return a space where invisible characters stand between words, "" where they stand inside one.

    Between words: a half space between Arabic letters, an isolate, and any of them where the script changes.
    """
    before, after = run.string[run.start() - 1 : run.start()], run.string[run.end() : run.end() + 1]
    if not before or not after:
        return ""
    from_arabic, to_arabic = in_arabic_script(before), in_arabic_script(after)
    half_space = from_arabic and to_arabic and _NON_JOINER in run.group()
    return " " if half_space or from_arabic != to_arabic or not _ISOLATES.isdisjoint(run.group()) else ""


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _DROPPED:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return character if category in _KEPT else " "


_PROCLITICS = ("وال", "بال", "هال", "فال", "كال", "لل", "ال", "و", "ب", "ف", "ل", "ك")
_SHORTEST_STEM = 3


def arabic_stems(word: str) -> tuple[str, ...]:
    """Return a folded word, and without the particles that Arabic writes attached: والسعر, بالسعر, السعر, سعر."""
    if not word or not arabic(word[0]):
        return (word,)
    return (
        word,
        *(
            word[len(particle) :]
            for particle in _PROCLITICS
            if word.startswith(particle) and len(word) - len(particle) >= _SHORTEST_STEM
        ),
    )
