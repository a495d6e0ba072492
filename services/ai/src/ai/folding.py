"""Makes texts comparable: what a customer typed on a phone and what a merchant typed into a rule.

Folding takes away what people vary without meaning anything by it: case, accents, Arabic vowel marks and the
lengthening stroke, the spellings of alef, ya and ta marbuta, the digits' script, typographic letters, punctuation,
emoji, and letters held down ("heyyy"). What remains are words separated by single spaces.
"""

import re
import unicodedata

LONGEST = 2000
"""Characters of a message that are looked at: rules and word lists decide nothing beyond."""

_SAME_LETTER = str.maketrans(
    {
        "ـ": None,  # tatweel stretches a word, it is no letter
        "ى": "ي",
        "ی": "ي",
        "ې": "ي",
        "ة": "ه",
        "ک": "ك",
        "ٱ": "ا",
        "œ": "oe",
        "æ": "ae",
        "ø": "o",
        "ı": "i",
        "ł": "l",
    }
)
_NOT = re.compile(r"n['’ʼ´`]t\b", re.IGNORECASE)
_HELD_DOWN = re.compile(r"([^\W\d_])\1{2,}")
_DROPPED = frozenset({"Mn", "Me", "Cf"})
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"})


def fold(text: str) -> str:
    """Return the words of `text` in their plainest form, separated by single spaces; "" when there are none."""
    spelled_out = _NOT.sub(" not", text)  # don't -> do not: a negation must survive the apostrophe
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", spelled_out).casefold())
    letters = "".join(map(_plain, decomposed)).translate(_SAME_LETTER)
    return " ".join(_HELD_DOWN.sub(r"\1", letters).split())


def words(text: str) -> tuple[str, ...]:
    """Return the folded words of `text`."""
    return tuple(fold(text).split())


def word_set(text: str) -> frozenset[str]:
    """Return a word list, written as text, in folded form."""
    return frozenset(words(text))


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _DROPPED:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return character if category in _KEPT else " "


def arabic(character: str) -> bool:
    """Tell whether a character is an Arabic letter."""
    return "\u0620" <= character <= "\u06ff" and character.isalpha()


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
