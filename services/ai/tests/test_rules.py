"""The rules: what each kind of match means, which rule comes first, and that no rule can stop the service."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ai.rules import DEFAULT_RULES, MAX_SET_ASIDE, Patterns, RuleEngine
from common.merchants import Rule, Then, When

DM, COMMENT = "direct_message", "comment"


def rule(match, *values, name="r", channel=DM, enabled=True):
    return Rule(
        name=name, when=When(channel=channel, match=match, values=values), then=Then(reply={"en": "x"}), enabled=enabled
    )


def applies(one, text, channel=DM):
    return RuleEngine().first([one], channel=channel, text=text).rule is not None


def default(channel, text):
    found = RuleEngine().first(DEFAULT_RULES, channel=channel, text=text).rule
    return found.name if found else None


@pytest.mark.parametrize(
    "text",
    [
        *("hello", "Salut", "BONJOUR !!", "hi 👋", "Bonsoir.", "coucou", "heyyy", "Salut, bonjour", "Salut ça va ?"),
        *("مرحبا", "هلو", "السلامُ عليكم", "السلام عليكم ورحمة الله وبركاته", "شلونك؟", "هلو شلونك", "مرحباااا"),
        *("salam", "shlonak", "hello hello", "صباح الخير"),
    ],
)
def test_nothing_but_a_greeting_is_greeted(text):
    assert default(DM, text) == "greeting"


@pytest.mark.parametrize(
    "text", ["Bonjour, vous livrez à Erbil ?", "hello do you have size M", "مرحبا عندكم توصيل؟", "highest", "", "👋"]
)
def test_a_greeting_inside_a_sentence_is_not_the_greeting_rule(text):
    assert default(DM, text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("prix", "PRIX?", "le prix de la robe svp", "Bonjour, quel est le prix ?", "prix!!!", "c’est combien ?"),
        *("what's the price", "How much is this?", "price please", "prices"),
        *("سعر", "شكد السعر", "كم سعره؟", "بكم هذا", "والسعر؟", "بالأسعار", "بيش", "السِّعر"),
    ],
)
def test_a_question_for_the_price_gets_the_price_link(text):
    assert default(DM, text) == "price"


@pytest.mark.parametrize(
    "text", ["reprix", "prixs", "sprix", "combien de temps ?", "how much time does it take", "priceless", "شكد يطول"]
)
def test_a_price_word_inside_another_word_is_none(text):
    assert default(DM, text) is None


@pytest.mark.parametrize("text", ["super", "Génial !", "merci", "love", "حلو كلش", "😍", "I love it"])
def test_praise_under_a_post_is_thanked(text):
    assert default(COMMENT, text) == "positive-comment"


@pytest.mark.parametrize("text", ["Super déçu", "pas génial", "nul", "scam", "نصابين", "😡", "not good"])
def test_a_complaint_under_a_post_calls_a_person_and_is_not_thanked(text):
    assert default(COMMENT, text) == "negative-comment"


@pytest.mark.parametrize("text", ["J'adore, c'est combien ?", "ok", "vous livrez ?", "prix", "bonjour"])
def test_other_comments_are_for_the_model(text):
    assert default(COMMENT, text) is None


def test_the_first_rule_that_applies_decides():
    rules = [rule("contains", "b", name="first"), rule("contains", "a", name="second"), rule("equals", "a b", name="x")]
    assert RuleEngine().first(rules, channel=DM, text="a b").rule.name == "first"


def test_rules_of_another_channel_and_disabled_ones_do_not_apply():
    assert not applies(rule("contains", "a", channel=COMMENT), "a")
    assert not applies(rule("contains", "a", enabled=False), "a")


@pytest.mark.parametrize(
    ("one", "text", "expected"),
    [
        (rule("contains", "free delivery"), "is there FREE, delivery?", True),
        (rule("contains", "free delivery"), "free fast delivery", False),
        (rule("contains", "❤"), "I ❤ it", True),
        (rule("contains", " "), "a b", False),
        (rule("any_of", "robe", "فستان"), "عندكم الفستان؟", True),
        (rule("any_of", "robe"), "robes", False),
        (rule("equals", "oui", "d'accord"), "Oui, d’accord !", True),
        (rule("equals", "oui"), "oui mais", False),
        (rule("equals", "👍"), " 👍 ", True),
        (rule("equals", "👍"), "👎", False),
        (rule("equals", "👍"), "👍🏽", True),
        (rule("equals", "👍🏿"), "👍🏽 👍", True),
        (rule("equals", "👍"), "👍👎", False),
        (rule("equals", "👍", "❤️"), "👍🏽❤", True),
        (rule("equals", "👍"), "🏽", False),
        (rule("equals", "👍"), "👍\u200f", True),
        (rule("equals", "👍"), "👍!", True),
        (rule("equals", "👍"), "👍؟", True),
        (rule("equals", "👍"), "👍 👍.", True),
        (rule("equals", "؟"), "؟؟", True),
        (rule("equals", "?"), "!", False),
        (rule("equals", "👍"), "!", False),
        (rule("equals", "👨\u200d👩\u200d👧"), "👨\u200d👩\u200d👧!", True),
        (rule("equals", "🏽"), "🏽", False),
        (rule("contains", "❤️"), "حبيته ❤", True),
        (rule("contains", "👍🏽"), "ok 👍🏿", True),
        (rule("equals", "هلا"), "ھلا", True),
        (rule("any_of", "بشكد"), "بشگد الفستان", True),
        (rule("any_of", "بشگد"), "بشكد الفستان", True),
        (rule("any_of", "سعر"), "سعر\u200cالفستان؟", True),
        (rule("equals", "شلونج"), "شلونچ", True),
        (rule("equals", "!!"), "", False),
        (rule("sentiment", "negative"), "déçu", True),
        (rule("sentiment", "negative", "neutral"), "ok", True),
        (rule("sentiment", "positive"), "super", True),
        (rule("sentiment", "positive"), "super ?", False),
        (rule("regex", r"\b\d{4,}\b"), "order 12345", True),
        (rule("regex", r"\bgenial\b"), "Génial", True),
        (rule("regex", r"\bgénial\b"), "GÉNIAL", True),
        (rule("regex", r"^25000$"), "٢٥٠٠٠", True),
        (rule("regex", r"x", r"y"), "only y", True),
        (rule("regex", r"z"), "only y", False),
    ],
)
def test_what_each_kind_of_match_means(one, text, expected):
    assert applies(one, text) is expected


@pytest.mark.parametrize("pattern", ["(", "a{1000}{1000}", "(?:x{900}){900}", "a" * 501, "(?P<n>a)(?P<n", "(" * 400])
def test_a_regex_that_cannot_be_used_is_skipped_by_name_and_the_next_rule_is_tried(pattern):
    verdict = RuleEngine().first(
        [rule("regex", pattern, name="bad"), rule("contains", "a", name="good")], channel=DM, text="a"
    )
    assert verdict.skipped == (("bad", "not_compiled"),)
    assert verdict.rule.name == "good"


def test_many_regexes_that_are_each_quick_enough_do_not_hold_up_the_others_together():
    slow = [rule("regex", *(f"a.*a.*a.*z{one}{n}" for n in range(20)), name=f"r{one}") for one in range(10)]
    engine = RuleEngine(Patterns(seconds=60), turn_seconds=0.1)
    began = time.monotonic()
    verdict = engine.first([*slow, rule("contains", "aa", name="next")], channel=DM, text="aa " + "a" * 220)
    assert time.monotonic() - began < 2
    assert verdict.rule.name == "next"
    assert ("r9", "too_slow") in verdict.skipped
    assert engine.first(slow[9:], channel=DM, text="a z90").skipped == ()


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", r"(\w+\s?)+$", "(?:a+a+)+c"])
def test_a_regex_that_takes_too_long_is_stopped_and_not_tried_again(pattern):
    engine = RuleEngine(Patterns(seconds=0.02))
    rules = [rule("regex", pattern, name="slow"), rule("contains", "b", name="next")]
    started = time.monotonic()
    verdicts = [engine.first(rules, channel=DM, text="a" * 1500 + "! b") for _ in range(50)]
    assert time.monotonic() - started < 5.0
    assert {verdict.skipped for verdict in verdicts} == {(("slow", "too_slow"),)}
    assert {verdict.rule.name for verdict in verdicts} == {"next"}


SLOW = "a" * 1500 + "! b"


def test_a_slow_regex_is_set_aside_for_its_merchant_alone_and_for_a_minute():
    clock = [0.0]
    engine = RuleEngine(Patterns(seconds=0.02, now=lambda: clock[0]))
    rules = [rule("regex", "(a+)+$", name="slow"), rule("contains", "b", name="next")]

    def first(text, merchant):
        return engine.first(rules, channel=DM, text=text, merchant=merchant)

    verdict = first(SLOW, "one")
    assert (verdict.rule.name, verdict.skipped) == ("next", (("slow", "too_slow"),))
    assert first("aaa", "one").skipped == (("slow", "too_slow"),)
    assert first("aaa", "two").rule.name == "slow"
    clock[0] = 59.9
    assert first("aaa", "one").rule is None
    clock[0] = 60.0
    assert first("aaa", "one").rule.name == "slow"


@pytest.mark.parametrize("merchants", [1, 5])
def test_each_merchants_slow_text_costs_its_own_time_once_a_minute(merchants):
    engine = RuleEngine(Patterns(seconds=0.02, now=lambda: 0.0))
    rules = [rule("regex", "(a+)+$", name="slow")]
    began = time.thread_time()
    for n in range(200):
        engine.first(rules, channel=DM, text=SLOW, merchant=str(n % merchants))
    assert time.thread_time() - began < 0.2 * merchants + 1.0


def test_what_is_set_aside_is_bounded():
    patterns = Patterns(seconds=0.0001)
    for n in range(30):
        patterns.search("(a+)+$", SLOW, merchant=str(n))
    assert len(patterns._set_aside) == 30 <= MAX_SET_ASIDE
    assert len(patterns._kept) == 1


def test_few_patterns_are_remembered():
    patterns = Patterns(most=3)
    assert [patterns.search(str(n), "3") for n in range(5)] == [False, False, False, True, False]
    assert len(patterns._kept) == 3


def test_two_hundred_rules_of_two_hundred_words_are_tried_in_a_moment():
    rules = [rule("any_of", *(f"word{n}x{m}" for m in range(200)), name=f"r{n}") for n in range(200)]
    engine = RuleEngine()
    engine.first(rules, channel=DM, text="warm up")
    started = time.monotonic()
    engine.first(rules, channel=DM, text="some message " * 20)
    assert time.monotonic() - started < 5.0


WORDS = st.lists(st.sampled_from(["prix", "robe", "oui", "سعر", "hello"]), min_size=1, max_size=6)


@given(WORDS, WORDS)
def test_a_phrase_is_contained_where_its_words_stand_in_a_row(phrase, text):
    expected = any(text[start : start + len(phrase)] == phrase for start in range(len(text)))
    assert applies(rule("contains", " ".join(phrase)), "! ".join(text)) is expected


@given(st.lists(st.sampled_from(["a", "a b", "b c", "c"]), min_size=1, max_size=3), WORDS | st.just(["a", "b", "c"]))
def test_equals_means_that_the_whole_message_can_be_made_of_the_values(values, text):
    def made(rest):
        return not rest or any(rest[: len(v.split())] == v.split() and made(rest[len(v.split()) :]) for v in values)

    assert applies(rule("equals", *values), " ".join(text)) is made(text)


@given(st.text(max_size=300), st.sampled_from([DM, COMMENT]))
def test_no_message_breaks_the_default_rules(text, channel):
    RuleEngine().first(DEFAULT_RULES, channel=channel, text=text)


def test_a_rule_may_apply_to_whatever_was_said_also_to_nothing():
    always = Rule(name="a", when=When(channel="mention", match="always"), then=Then(alert="x"))
    assert RuleEngine().first([always], channel="mention", text="").rule is always
    assert RuleEngine().first([always], channel="comment", text="").rule is None


@pytest.mark.parametrize(("match", "values"), [("always", ("x",)), ("contains", ()), ("sentiment", ())])
def test_a_rule_looks_for_something_unless_it_always_applies(match, values):
    with pytest.raises(ValidationError, match="at least one is needed"):
        When(channel="comment", match=match, values=values)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (rule("equals", "a", "a " * 999), "a " * 998 + "b"),
        (rule("equals", *("a " * n for n in range(800, 1000))), "a " * 998 + "b"),
    ],
)
def test_no_rule_of_a_merchant_holds_up_the_others(one, text):
    """Two hundred rules and ten messages are what a merchant and a customer may send."""
    engine = RuleEngine()
    rules = [one.model_copy(update={"name": f"r{n}"}) for n in range(200)]
    began = time.thread_time()
    verdict = engine.first(rules, channel=DM, text=text, earlier=[text] * 9)
    assert time.thread_time() - began < 5
    assert verdict.rule is None
    assert ("r199", "too_slow") in verdict.skipped


def test_what_always_applies_needs_no_time():
    last = rule("always", name="last")
    slow = [rule("equals", "a", "a " * 999, name=f"r{n}") for n in range(200)]
    assert RuleEngine().first([*slow, last], channel=DM, text="a " * 998 + "b").rule == last
