"""How a comment is meant: positive, neutral or negative, by word lists for Iraqi Arabic, French and English.

A word list is no reader of irony. It is there because it is instant, free, the same on every replay, and because what
hangs on it is small and safe: a thank-you under praise, a person called to a complaint. Where praise and complaint are
both present the complaint weighs more; what it cannot tell is neutral, and the model answers.
"""

from collections.abc import Sequence
from typing import Final, Literal

from ai.folding import LONGEST, arabic_stems, word_set, words

Sentiment = Literal["positive", "neutral", "negative"]

_PRAISE = """
    super genial geniale geniaux geniales merci love lovely loved loves magnifique magnifiques excellent excellente
    excellents parfait parfaite parfaits parfaites top bravo adore adorable aime jaime jolie joli jolis jolies belle
    belles beau beaux sublime splendide incroyable formidable fantastique ravi ravie ravis satisfait satisfaite
    recommande felicitations chapeau impeccable nickel kiffe bon bonne
    great amazing awesome beautiful perfect thanks thank thx fantastic wonderful gorgeous best nice good pretty
    recommend recommended happy satisfied stunning brilliant impressive fabulous cool wow
    حلو حلوه حلوين حلوات روعه رائع رائعه جميل جميله جميلين ممتاز ممتازه شكرا مشكور مشكوره مشكورين تسلم تسلمون تسلمين
    عاشت خوش احب احبه احبها حبيت حبيته حبيتها عجبني عجبتني يعجبني تجنن يجنن يخبل تخبل فخم فخمه راقي راقيه احلي افضل
    مبدع مبدعين تحفه كشخه ابداع يهبل تهبل جيد جيده زين زينه مبروك موفقين بارك تستاهل تستاهلون حبيبي فنان
    hilw helwa 7ilwa 7ilu shukran chukran shokran zain khosh rou3a raw3a
"""
_COMPLAINT = """
    decu decue decus decues deception nul nulle nuls nulles horrible horribles mauvais mauvaise mauvaises pire honte
    honteux catastrophe catastrophique arnaque arnaqueur arnaqueurs arnaquee arnaques voleur voleurs vol escroc escrocs
    escroquerie deteste moche moches casse cassee casses abime abimee defectueux defectueuse rembourser remboursez
    remboursement plainte inadmissible scandaleux lamentable pourri pourrie insatisfait insatisfaite menteur menteurs
    bad terrible awful horrible worst worse hate disgusting disappointed disappointing disappointment scam scammer
    scammers fraud fake liar liars thieves thief stolen broken damaged defective refund useless rubbish garbage trash
    poor ugly rude unacceptable angry unhappy ripoff sucks complaint
    سيء سيئه سيئين سيي سييه سييين زباله نصب نصاب نصابين نصابه احتيال محتال محتالين كذب كذاب كذابين حرامي حراميه
    خايس خايسه تعبان تعبانه مكسور مكسوره خربان خربانه مغشوش مغشوشه غش مقلد فاشل فاشله فاشلين زفت زباله اسوء اسوا
    مزعج مقرف كارثه خيبه ندمت ندمانه ندمان قهر مستاء مستائه عيب سرقه اكره وسخ وسخه رديء رديئه رديي ردييه بايخ
    nassab nasab 7arami kathab
"""
_MILD_COMPLAINT = (
    "cher chere chers cheres expensive overpriced slow lent lente late retard غالي غاليه متاخر متاخره تاخير"
)

_PHRASES: Final[dict[str, int]] = {
    # Said as one, these mean something else than their words.
    "pas mal": 1,
    "not bad": 1,
    "مو بطال": 1,
    "can not wait": 1,
    "i like": 1,
    "do not like": -3,
    "would like": 0,
    "ما شاء الله": 1,
    "ماشاء الله": 1,
    "ما احلي": 1,
    "ما احلاه": 1,
    "ما احلاها": 1,
    "ما اجمل": 1,
    "ما اروع": 1,
    "ولا احلي": 1,
    "ولا اروع": 1,
    "غير شكل": 1,
    "never seen such": 0,
    "not only": 0,
    "no thanks": 0,
    "no thank you": 0,
    "non merci": 0,
    "لا شكرا": 0,
    "عاشت ايدكم": 1,
    "pas de souci": 0,
    "pas de soucis": 0,
    "pas de probleme": 0,
    "sans probleme": 0,
    "no problem": 0,
    "ماكو مشكله": 0,
    "مو مشكله": 0,
    "good morning": 0,
    "good evening": 0,
    "bon soir": 0,
    "bonne journee": 0,
    "bonne soiree": 0,
    "bon matin": 0,
    "best price": 0,
    "merci pour rien": -3,
    "thanks for nothing": -3,
    "waste of money": -3,
    "waste of time": -3,
    "rip off": -3,
    "jamais recu": -3,
    "pas recu": -3,
    "rien recu": -3,
    "never received": -3,
    "not received": -3,
    "never arrived": -3,
    "not arrived": -3,
    "jamais arrive": -3,
    "jamais arrivee": -3,
    "pas arrive": -3,
    "pas arrivee": -3,
    "does not work": -3,
    "not working": -3,
    "do not buy": -3,
    "ne marche pas": -3,
    "marche pas": -3,
    "ما وصل": -3,
    "ما وصلني": -3,
    "ما وصلت": -3,
    "ما وصلتني": -3,
    "ما يشتغل": -3,
    "ما تشتغل": -3,
    "ما تردون": -3,
    "ما ترد": -3,
    "محد يرد": -3,
    "حسبي الله": -3,
    "لا تشترون": -3,
    "لا تتعاملون": -3,
    "بدون فايده": -3,
}
_FOLDED: Final = {words(phrase): weight for phrase, weight in _PHRASES.items()}
_LONGEST_PHRASE = max(map(len, _FOLDED))

_WEIGHTS: Final[dict[str, int]] = {
    **dict.fromkeys(words(_PRAISE), 1),
    **dict.fromkeys(words(_COMPLAINT), -3),
    **dict.fromkeys(words(_MILD_COMPLAINT), -1),
}
_BEFORE = word_set(
    "pas jamais aucun aucune sans not never no without مو ما مش لا ليس ليست مب ولا بدون مو غير mo mu muu"
)
"""Words that turn what follows within three words into its opposite."""
_AFTER = frozenset({"pas", "jamais"})
"""French negates the verb from behind: "je n'aime pas"."""
_REACH = 3
_BREAKS = word_set("mais but however lakin لكن بس")
"""A negation does not reach over these."""
_EMPHASIS = word_set("super trop tres very so really vraiment كلش هوايه جدا kulish pretty")
"""Before a complaint these only make it louder: "super déçu" praises nothing."""

_GLAD = frozenset("❤😍🥰😘👍🔥👏💯🙏💕💖💗💓💞💙💚💛🧡💜🖤🤍🤎😊☺😁🤩💐🌹🌸✨🎉👌💪")
_SAD = frozenset("😡🤬👎💔😠😤🤮🤢😒🖕💩")


def sentiment_of(text: str) -> Sentiment:
    """Return how `text` is meant."""
    text = text[:LONGEST]
    score = _words_score(words(text)) + _emoji_score(text)
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"


def asks(text: str) -> bool:
    """Tell whether `text` has a question mark of any script."""
    return any(mark in text for mark in "?؟？⁇❓❔")


def _emoji_score(text: str) -> int:
    """A row of hearts counts once: it must not outshout a complaint."""
    return any(character in _GLAD for character in text) - 3 * any(character in _SAD for character in text)


def _words_score(folded: Sequence[str]) -> int:
    score = 0
    position = 0
    spoken_for = 0  # words before this belong to a phrase: the "not" of "not only" negates nothing else
    while position < len(folded):
        length, weight = _phrase_at(folded, position)
        if length:
            score += weight
            position += length
            spoken_for = position
            continue
        weight = _weight(folded[position])
        if weight and not _only_emphasis(folded, position):
            score += _turned(weight) if _negated(folded, position, spoken_for) else weight
        position += 1
    return score


def _phrase_at(folded: Sequence[str], position: int) -> tuple[int, int]:
    for length in range(_LONGEST_PHRASE, 1, -1):
        phrase = tuple(folded[position : position + length])
        if phrase in _FOLDED:
            return len(phrase), _FOLDED[phrase]
    return 0, 0


def _weight(word: str) -> int:
    for stem in arabic_stems(word):
        if stem in _WEIGHTS:
            return _WEIGHTS[stem]
    return 0


def _turned(weight: int) -> int:
    """Not good is a complaint; not bad is at most polite."""
    return -2 if weight > 0 else 1


def _only_emphasis(folded: Sequence[str], position: int) -> bool:
    return (
        folded[position] in _EMPHASIS
        and position + 1 < len(folded)
        and (_weight(folded[position + 1]) < 0 or folded[position + 1] in _EMPHASIS)
    )


def _negated(folded: Sequence[str], position: int, spoken_for: int) -> bool:
    if position + 1 < len(folded) and folded[position + 1] in _AFTER:
        return True
    for before in range(position - 1, max(position - 1 - _REACH, spoken_for - 1), -1):
        if folded[before] in _BREAKS:
            return False
        if folded[before] in _BEFORE:
            return True
    return False
