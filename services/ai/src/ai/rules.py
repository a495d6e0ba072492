"""A merchant's rules: the first that applies decides, and no model is asked.

Pure but for one thing it remembers: regular expressions, compiled once, and which of them took too long. A merchant
writes them, customers feed them, and one of them must never hold up everybody else. Python's `re` cannot be stopped
and holds the interpreter while it backtracks, so a thread with a time-out would not help; the `regex` package stops by
itself after `REGEX_SECONDS`. What does not compile or is too big is skipped. What was too slow is set aside for
`SET_ASIDE_SECONDS`, and only for the merchant whose customer's text it was: one text switches nothing off for good, and
nothing of another merchant. Many that are each just quick enough are held up together: all of a turn have
`TURN_SECONDS`, what is left over is skipped this once. So are phrases that together take as much time of the processor.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

import regex

from ai.folding import LONGEST, arabic_stems, symbols, without_punctuation, words
from ai.sentiment import Sentiment, asks, sentiment_of
from common.merchants import Channel, Match, Rule, Then, When

SkipCause = Literal["not_compiled", "too_slow"]

REGEX_SECONDS = 0.05
TURN_SECONDS = 0.5
SET_ASIDE_SECONDS = 60.0
MAX_SET_ASIDE = 10_000
LONGEST_PATTERN = 500
MOST_REPEATS = 1000
"""The product of all counts in a pattern: `(a{1000}){1000}` compiles into a million states."""

_COUNTS = re.compile(r"\{(?:\d*,)?(\d+),?\}")


@dataclass(frozen=True)
class Verdict:
    """What the rules say: the rule that applies, if any, and by name those that could not be tried."""

    rule: Rule | None
    skipped: tuple[tuple[str, SkipCause], ...] = ()


class Patterns:
    """Compiled regular expressions, at most `most` of them, and which are set aside for which merchant, until when."""

    def __init__(
        self, *, most: int = 1000, seconds: float = REGEX_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[str, regex.Pattern[str] | SkipCause] = OrderedDict()
        self._set_aside: OrderedDict[tuple[str, str], float] = OrderedDict()

    def search(self, pattern: str, *texts: str, merchant: str = "", ends_at: float = float("inf")) -> bool | SkipCause:
        """Return whether a merchant's `pattern` is found in one of `texts`, or why it was not tried.

        `ends_at` by time.monotonic.
        """
        if self._is_set_aside(merchant, pattern):
            return "too_slow"
        compiled = self._kept.get(pattern)
        if compiled is None and time.monotonic() < ends_at:
            compiled = _compiled(pattern)
            self._keep(pattern, compiled)
        if compiled is None:
            return "too_slow"
        if isinstance(compiled, str):
            return compiled
        for text in texts:
            left = ends_at - time.monotonic()
            if left <= 0:
                return "too_slow"
            try:
                if compiled.search(text[:LONGEST], timeout=min(self._seconds, left)):
                    return True
            except (TimeoutError, RecursionError, MemoryError):
                if left >= self._seconds:  # it had all its time: others did not use it up
                    self._put_aside(merchant, pattern)
                return "too_slow"
        return False

    def _keep(self, pattern: str, compiled: "regex.Pattern[str] | SkipCause") -> None:
        self._kept[pattern] = compiled
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _put_aside(self, merchant: str, pattern: str) -> None:
        self._set_aside[merchant, pattern] = self._now() + SET_ASIDE_SECONDS
        while len(self._set_aside) > MAX_SET_ASIDE:
            self._set_aside.popitem(last=False)

    def _is_set_aside(self, merchant: str, pattern: str) -> bool:
        until = self._set_aside.get((merchant, pattern))
        if until is not None and self._now() >= until:
            del self._set_aside[merchant, pattern]
            return False
        return until is not None


def _compiled(pattern: str) -> "regex.Pattern[str] | SkipCause":
    repeats = 1
    for count in _COUNTS.findall(pattern):
        repeats *= max(int(count[:6]), 1)
    if len(pattern) > LONGEST_PATTERN or repeats > MOST_REPEATS:
        return "not_compiled"
    try:
        return regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, RecursionError, OverflowError, MemoryError):
        return "not_compiled"


@dataclass(frozen=True)
class Phrase:
    """A value of a rule, folded, and its symbols for those that have no words."""

    words: tuple[str, ...]
    symbols: str


@lru_cache(maxsize=5_000)
def _phrases(values: tuple[str, ...]) -> tuple[Phrase, ...]:
    """Return a rule's values ready to be looked for. Folding two hundred of them for each message would be felt."""
    return tuple(Phrase(words(value), symbols(value)) for value in values)


class Said:
    """A message as the rules look at it: taken apart once, however many rules there are."""

    def __init__(self, text: str) -> None:
        self.text = text[:LONGEST]
        self.words = words(self.text)

    @cached_property
    def stems(self) -> tuple[frozenset[str], ...]:
        """For each word what it may be matched as: Arabic particles are written attached to it."""
        return tuple(frozenset(arabic_stems(word)) for word in self.words)

    @cached_property
    def symbols(self) -> str:
        """Its emoji and signs as they are compared."""
        return symbols(self.text)

    @cached_property
    def sentiment(self) -> Sentiment:
        """How it is meant."""
        return sentiment_of(self.text)

    @cached_property
    def anywhere(self) -> frozenset[str]:
        """Whatever any of its words may be matched as."""
        return frozenset().union(*self.stems)

    def contains(self, phrase: Phrase) -> bool:
        """Tell whether the words of `phrase` stand in it one after another."""
        if not phrase.words:
            return phrase.symbols != "" and phrase.symbols in self.symbols  # emoji and punctuation are no words
        return self.anywhere.issuperset(phrase.words) and any(
            all(word in stems for word, stems in zip(phrase.words, self.stems[start:], strict=False))
            for start in range(len(self.words) - len(phrase.words) + 1)
        )

    def contains_any(self, phrases: Sequence[Phrase], within: "Budget") -> bool:
        """Tell whether it contains one of `phrases`. Raises TooSlow."""
        return any(within.left() and self.contains(phrase) for phrase in phrases)

    def consists_of(self, phrases: Sequence[Phrase], within: "Budget") -> bool:
        """Tell whether it is nothing but one or more of `phrases`: "Salut, bonjour !" is nothing but greetings.

        Raises TooSlow.
        """
        if not self.words:
            return self.symbols != "" and _made_of(
                without_punctuation(self.symbols), {without_punctuation(phrase.symbols) for phrase in phrases}, within
            )
        return _made_of(self.words, {phrase.words for phrase in phrases}, within)


def _made_of(whole: Sequence[str], parts: Collection[Sequence[str]], within: "Budget") -> bool:
    """Tell whether `whole` is nothing but some of `parts`, one after another. Raises TooSlow."""
    wanted = {part for part in parts if part}
    lengths = {len(part) for part in wanted}
    reached = {0}  # how long a beginning can be made of parts
    for end in range(1, len(whole) + 1):
        within.left()
        if any(end - length in reached and whole[end - length : end] in wanted for length in lengths):
            reached.add(end)
    return len(whole) in reached


class TooSlow(Exception):
    """The rules of a turn have taken their time of the processor."""


class Budget:
    """Time of the processor for the phrases of a turn: neither other work on the machine nor regexes take any of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = 0.0

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count the time inside."""
        began = time.thread_time()
        self._ends_at = began + self._seconds
        try:
            yield
        finally:
            self._seconds -= time.thread_time() - began

    def left(self) -> bool:
        """Return True while there is some. Raises TooSlow."""
        if time.thread_time() > self._ends_at:
            raise TooSlow
        return True


@dataclass
class RuleEngine:
    """Finds the rule that applies to a message."""

    patterns: Patterns = field(default_factory=Patterns)
    turn_seconds: float = TURN_SECONDS

    def first(
        self,
        rules: Iterable[Rule],
        *,
        channel: Channel,
        text: str,
        earlier: Sequence[str] = (),
        merchant: str = "",
    ) -> Verdict:
        """Return the first enabled rule of `channel` that applies to one of the messages of a turn.

        They are tried oldest first: `earlier`, then `text`. A rule that wants nothing but its values (`equals`) has to
        apply to each of them: a greeting before a question is no mere greeting.
        """
        turn = [Said(one) for one in (*earlier, text)]
        skipped: dict[str, SkipCause] = {}
        ends_at, within = time.monotonic() + self.turn_seconds, Budget(self.turn_seconds)
        for rule in rules:
            if not rule.enabled or rule.when.channel != channel:
                continue
            verdicts = [self._applies(rule.when, said, ends_at, within, merchant) for said in turn]
            for verdict in verdicts:
                if isinstance(verdict, str):
                    skipped[rule.name] = verdict
            if (all if rule.when.match == "equals" else any)(verdict is True for verdict in verdicts):
                return Verdict(rule, tuple(skipped.items()))
        return Verdict(None, tuple(skipped.items()))

    def _applies(self, when: When, said: Said, ends_at: float, within: Budget, merchant: str) -> bool | SkipCause:
        try:
            return self._holds(when, said, ends_at, within, merchant)
        except TooSlow:
            return "too_slow"

    def _holds(self, when: When, said: Said, ends_at: float, within: Budget, merchant: str) -> bool | SkipCause:
        match when.match:
            case "always":
                return True
            case "contains" | "any_of":
                with within.spent():
                    return within.left() and said.contains_any(_phrases(when.values), within)
            case "equals":
                with within.spent():
                    return within.left() and said.consists_of(_phrases(when.values), within)
            case "sentiment":
                # Praise that also asks something wants an answer, not only a thank-you.
                return said.sentiment in when.values and not (said.sentiment == "positive" and asks(said.text))
            case "regex":
                folded = " ".join(said.words)
                verdicts = [
                    self.patterns.search(value, said.text, folded, merchant=merchant, ends_at=ends_at)
                    for value in when.values
                ]
                if True in verdicts:
                    return True
                return next((verdict for verdict in verdicts if verdict is not False), False)


def _rule(name: str, channel: Channel, match: Match, values: Sequence[str], then: Then) -> Rule:
    return Rule(name=name, when=When(channel=channel, match=match, values=tuple(values)), then=then)


GREETINGS = (
    *("hello", "hi", "hey", "hello there", "hi there", "good morning", "good evening", "good afternoon"),
    *("bonjour", "bonsoir", "salut", "coucou", "bjr", "bsr", "slt", "cc", "bonjour madame", "bonjour monsieur"),
    *("ça va", "comment ça va", "comment allez-vous", "how are you"),
    *("مرحبا", "مرحبتين", "هلو", "هلا", "هلا بيكم", "هلا والله", "هلو شلونك", "اهلا", "اهلا وسهلا", "اهلين", "هاي"),
    *("السلام عليكم", "سلام عليكم", "سلام", "السلام عليكم ورحمة الله", "السلام عليكم ورحمة الله وبركاته"),
    *("شلونك", "شلونكم", "شلونج", "شخبارك", "شخباركم", "شكو ماكو", "صباح الخير", "مساء الخير", "صباح النور"),
    *("salam", "slm", "salam alaykum", "salam aleikum", "salamu alaykum", "assalamu alaykum", "assalam alaikum"),
    *("marhaba", "mar7aba", "shlonak", "shlonkum", "hala", "halaw"),
)

PRICE_WORDS = (
    *("prix", "tarif", "tarifs", "c'est combien", "ça coûte combien", "combien ça coûte", "combien coûte"),
    *(
        "price",
        "prices",
        "pricing",
        "how much is",
        "how much are",
        "how much does",
        "how much for",
        "how much it costs",
    ),
    *("سعر", "سعره", "سعرها", "سعرهم", "اسعار", "اسعاركم", "اسعارها", "بكم", "بيش", "شكد سعر", "شكد السعر", "بشكد"),
    *("bikam", "bkam", "bshkad", "beshkad", "se3r"),
)

DEFAULT_RULES: tuple[Rule, ...] = (
    _rule(
        "greeting",
        "direct_message",
        "equals",
        GREETINGS,
        Then(
            reply={
                "ar": "هلا وغلا بيك في {shop}! شلون نگدر نساعدك اليوم؟",
                "fr": "Bonjour et bienvenue chez {shop} ! Comment pouvons-nous vous aider ?",
                "en": "Hello and welcome to {shop}! How can we help you today?",
            }
        ),
    ),
    _rule(
        "price",
        "direct_message",
        "any_of",
        PRICE_WORDS,
        Then(
            reply={
                "ar": "تفضل، كل أسعارنا موجودة هنا: {price_link} وإذا عندك أي سؤال إحنا بالخدمة.",
                "fr": "Voici tous nos prix : {price_link} N'hésitez pas si vous avez une question.",
                "en": "Here are all our prices: {price_link} Just ask if you have any question.",
            }
        ),
    ),
    # Before praise: "Super déçu" is no praise, and a complaint must not be thanked in public.
    _rule("negative-comment", "comment", "sentiment", ("negative",), Then(alert="negative_comment")),
    _rule(
        "positive-comment",
        "comment",
        "sentiment",
        ("positive",),
        Then(
            reply={
                "ar": "شكراً جزيلاً على كلامك الحلو! رأيك يفرحنا هواية ❤️",
                "fr": "Merci beaucoup pour votre gentil message ! Cela nous fait très plaisir ❤️",
                "en": "Thank you so much for your kind words! It means a lot to us ❤️",
            }
        ),
    ),
)
"""What holds for a merchant whose document names no rules."""
