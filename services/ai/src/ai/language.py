"""Tells Arabic, French and English apart in messages of a few words.

By script first, then by word lists; Arabic written in Latin letters ("shlonak", "3ala") counts as Arabic, because that
is the language to answer in. A message that says nothing about its language (an emoji, "ok", a number) leaves the
question to the conversation and its merchant.
"""

import re
from typing import Final, Literal

from ai.arabic_letters import arabic
from ai.folding import LONGEST, word_set, words

Language = Literal["ar", "fr", "en"]

DEFAULT: Final[Language] = "ar"
"""Jawab's customers are Iraqi shops' customers."""

_LANGUAGES: Final[dict[str | None, Language]] = {"ar": "ar", "fr": "fr", "en": "en"}

_ENGLISH = word_set(
    """
    the is are am was were be been you your yours we they he she it its this that these those and of in to for with
    without from at by my me i im have has had do does did done can could would should will what when where which who
    why how much many price prices size colour color hello hi hey good morning evening afternoon night thanks thank
    please love like want need buy order delivery ship shipping available still great awesome amazing nice beautiful
    perfect bad terrible awful worst yes no not never any some there here about if but so too very more less than
    get got cheap expensive help question got open closed today tomorrow received broken refund cancel
    """
)
_FRENCH = word_set(
    """
    le la les un une des du de et est sont suis es sommes etes etait je tu il elle nous vous ils elles mon ma mes ton
    ta tes notre votre vos leur leurs ce cet cette ces ca cela qui que quoi quel quelle quels quelles ou quand comment
    combien pourquoi avec sans pour par dans sur chez pas jamais plus moins tres trop bien bon bonne bonjour bonsoir
    salut coucou merci beaucoup prix tarif taille couleur livraison livrez livrer commande commander acheter dispo
    disponible disponibles avez ai avons peux peut pouvez veux voulez voudrais svp stp oui non genial geniale magnifique
    jolie joli belle beau parfait parfaite adore aime decu decue nul nulle cher chere arnaque recu toujours encore aussi
    mais donc au aux en se sa son ses soir jour felicitations
    """
)
_ARABIZI = word_set(
    """
    salam salaam slm assalam asalam alaykum alaikum aleikum aleykum marhaba mar7aba ahlan hala halaw halo2 shlonak
    shlonkum shlonek shlon shlonk shloonak shaku maku aku chonk shkad shgad shgd bshkad beshkad bkam bikam bkm
    se3r si3ir sa3r s3r shukran shokran chukran habibi habibti 7abibi 7abibti inshallah insha2allah mashallah
    masha2allah wallah walla wallahi yalla zain zayn hilw hilu 7ilu 7elu helwa 7ilwa areed arid aridha abi abgha
    mumkin momkin laish leish lesh wain wein hassa hessa ani inta inti ehna tawsil tawseel baghdad kulish kolish
    hwaya hwaye khosh
    """
)
_HINTS: dict[str, Language] = {"super": "fr", "top": "fr", "cool": "en", "wow": "en"}
"""Words of both languages: they decide only where nothing else does."""
_ELISION = re.compile(r"(?:^|[^\w'’])(?:[cdjlmnst]|qu)['’](?=\w)", re.IGNORECASE)
"""l'article, j'adore, qu'il: an apostrophe after the first letter is French; English puts it before the last."""
_LETTER_DIGIT = re.compile(r"^(?:[379][a-z]{3,}|[a-z]+[2379][a-z]+[a-z0-9]*)$")
"""Digits that stand for Arabic letters: 3 ain, 7 ha, 9 sad, 2 hamza; `b2b` and `3rd` have too few letters around."""
_ORDINAL_LIKE = re.compile(r"^\d+(?:days?|hours?|jours?|heures?|mois|months?|weeks?|pieces?|pcs|ieme|eme)$")
_FEWEST_LETTERS = 3
_FRENCH_LETTERS = frozenset("éèêëàâçùûôîïœ")


def detect(text: str) -> Language | None:
    """Return the language of `text`, or None when nothing in it tells."""
    text = text[:LONGEST]
    folded = words(text)
    latin = [word for word in folded if not any(map(arabic, word)) and not word.isdigit()]
    in_arabic_script = len([word for word in folded if any(map(arabic, word))])
    scores: dict[Language, float] = {
        "fr": sum(word in _FRENCH for word in latin)
        + bool(_ELISION.search(text))
        + any(letter in _FRENCH_LETTERS for letter in text.casefold()),
        "en": sum(word in _ENGLISH for word in latin),
        "ar": sum(map(_arabizi, latin)),
    }
    for word in latin:
        if word in _HINTS:
            scores[_HINTS[word]] += 0.5
    if in_arabic_script:
        # A brand or a model number in Latin letters does not make an Arabic sentence English; a Latin sentence does.
        scores["ar"] += in_arabic_script
        return max(scores, key=lambda language: (scores[language], language == DEFAULT))
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] else None


def language_of(text: str, *fallbacks: str | None) -> Language:
    """Return the language to answer in: the message's own, else the first known one of `fallbacks`, else Arabic."""
    found = detect(text)
    if found is not None:
        return found
    for fallback in fallbacks:
        if fallback in _LANGUAGES:
            return _LANGUAGES[fallback]
    return DEFAULT


def _arabizi(word: str) -> bool:
    if word in _ARABIZI:
        return True
    letters = sum(character.isalpha() for character in word)
    return letters >= _FEWEST_LETTERS and bool(_LETTER_DIGIT.match(word)) and not _ORDINAL_LIKE.match(word)
