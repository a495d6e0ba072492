"""The oracle finds each kind of breach, and finds none in a history where nothing went wrong."""

from dataclasses import replace

import pytest
from history import Became, DeadLetter, Generated, History, PersonWrote, Said, Taken
from hypothesis import given
from hypothesis import strategies as st
from oracle import INVARIANTS, judge

INTERACTIONS, REPLIES = "interactions.received.v1", "replies.generated.v1"
READS = {"ai": (INTERACTIONS,), "delivery": (REPLIES, INTERACTIONS)}


def lived(turns_of: list[list[int]]) -> History:
    """Return a history in which all was well: a list of conversations, each a list of turns, each so many messages."""
    said, taken, generated, became, appended = [], [], [], [], {}
    number = 0
    for conversation, turns in enumerate(turns_of):
        contact, message, now = f"contact-{conversation}", 0, 100.0 * conversation
        for turn in turns:
            tags, ids = [], []
            for _ in range(turn):
                message += 1
                tag, event = f"#c{conversation}m{message}", f"a:msg:{conversation}.{message}"
                said.append(Said(tag, contact, event, sent_at=now, acknowledged_at=now + 0.5))
                appended[event] = (INTERACTIONS, conversation, message)
                tags.append(tag)
                ids.append(event)
                now += 1.0
            number += 1
            text, reply = f"About {' '.join(tags)}.", f"rep-{number}"
            where = (REPLIES, conversation, message)
            generated.append(Generated(reply, contact, "model", "direct_message", text, frozenset(ids), where))
            taken.append(Taken(number, now, "message", contact, text))
            became.append(Became(reply, "delivered", "", now))
    ends = {(topic, p): 100 for topic in (INTERACTIONS, REPLIES) for p in range(len(turns_of))}
    committed = {"ai": ends, "delivery": ends}
    return History(
        tuple(said), (), tuple(taken), tuple(generated), tuple(became), (), appended, committed, ends, READS, grace=5.0
    )


histories = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4).map(lived)
long_enough = st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=4), min_size=1, max_size=4).map(lived)
ONE = lived([[1]])
THREE = lived([[1, 1, 1]])


def broken(history: History) -> set[str]:
    return {breach.invariant for breach in judge(history).breaches}


def without(sequence, index):
    return (*sequence[:index], *sequence[index + 1 :])


def withheld(history: History, reason: str) -> History:
    """Return the history as if its only reply had been suppressed."""
    return replace(history, taken=(), became=(Became("rep-1", "suppressed", reason, 0.0),))


@given(histories)
def test_a_history_in_which_all_was_well_holds(history):
    verdict = judge(history)
    assert verdict.held
    assert verdict.fates == {"answered": len(history.said)}
    assert verdict.figures["replies"] == len(history.taken)


@given(histories, st.data())
def test_an_answer_that_nobody_took_is_a_lost_message(history, data):
    index = data.draw(st.integers(0, len(history.taken) - 1))
    verdict = judge(replace(history, taken=without(history.taken, index)))
    lost = {breach.ids[0] for breach in verdict.broken("lost")}
    assert lost
    assert all(tag in history.taken[index].text for tag in lost)


@given(histories, st.data())
def test_an_answer_that_was_taken_again_is_found_whenever_it_was(history, data):
    one = data.draw(st.sampled_from(history.taken))
    again = replace(one, number=1000, time=one.time + data.draw(st.floats(0.0, 1e4)))
    assert broken(replace(history, taken=(*history.taken, again))) == {"twice"}


@given(long_enough, st.data())
def test_two_answers_of_a_conversation_that_changed_places_are_found(history, data):
    pairs = [
        (i, j)
        for i, one in enumerate(history.taken)
        for j, other in enumerate(history.taken)
        if i < j and one.contact == other.contact
    ]
    i, j = data.draw(st.sampled_from(pairs))
    taken = list(history.taken)
    taken[i], taken[j] = replace(taken[i], number=taken[j].number), replace(taken[j], number=taken[i].number)
    assert broken(replace(history, taken=tuple(taken))) == {"order"}


@given(histories, st.data())
def test_a_message_that_was_answered_by_two_replies_is_found(history, data):
    said = data.draw(st.sampled_from(history.said))
    last = Taken(1000, 1e6, "message", said.contact, f"About {said.tag} #c{said.contact[8:]}m99.")
    assert "twice" in broken(replace(history, taken=(*history.taken, last)))


def test_messages_that_were_under_way_at_once_have_no_order():
    said = tuple(replace(one, sent_at=0.0) for one in THREE.said)
    history = replace(THREE, said=said, taken=tuple(replace(t, number=9 - t.number) for t in THREE.taken))
    assert judge(history).held


def test_a_message_nobody_acknowledged_need_not_be_answered():
    assert judge(replace(SILENT, said=(replace(ONE.said[0], acknowledged_at=None),))).held


def test_an_acknowledged_message_that_kafka_never_got_is_lost():
    verdict = judge(replace(ONE, taken=(), generated=(), became=(), appended={}))
    assert [breach.what for breach in verdict.breaches] == ["acknowledged, but nowhere in Kafka"]


def test_a_commit_past_a_message_without_an_end_is_found():
    history = replace(ONE, taken=(), generated=(), became=())
    assert broken(history) == {"lost", "committed_past"}
    waiting = {"ai": {(INTERACTIONS, 0): 1}, "delivery": {}}
    assert broken(replace(history, committed=waiting)) == {"lost", "settled"}


def test_a_commit_past_a_reply_without_an_outcome_is_found():
    assert broken(replace(ONE, became=())) == {"committed_past"}
    unknown = Became("rep-1", "unknown", "", 0.0)
    assert broken(replace(ONE, became=(unknown,))) == {"committed_past"}
    dead = DeadLetter(REPLIES + ".dlq", "rep-1", "over-age")
    assert judge(replace(ONE, became=(unknown,), dead=(dead,))).held


def test_a_reply_that_only_jawab_believes_delivered_is_lost():
    assert broken(replace(ONE, taken=())) == {"lost"}


def test_a_suppressed_reply_ends_a_message_with_a_reason():
    verdict = judge(withheld(ONE, "erased"))
    assert (verdict.held, verdict.fates) == (True, {"suppressed: erased": 1})


@pytest.mark.parametrize(("reason", "days"), [("window_closed", 1.0), ("comment_too_old", 7.0)])
def test_a_reply_is_withheld_for_its_age_only_when_it_is_old(reason, days):
    assert broken(withheld(ONE, reason)) == {"lost"}
    old = replace(ONE, taken=(), became=(Became("rep-1", "suppressed", reason, days * 86_400),))
    assert judge(old).fates == {f"suppressed: {reason}": 1}


def test_a_reply_withheld_for_a_person_needs_a_person():
    history = withheld(ONE, "human_owns")
    assert broken(history) == {"lost"}
    there = (PersonWrote("#c0p1", "contact-0", 0.0, 0.2),)
    assert judge(replace(history, people=there)).fates == {"left to a person": 1}
    assert broken(replace(history, people=(replace(there[0], acknowledged_at=None),))) == {"lost"}
    assert broken(replace(history, people=(replace(there[0], sent_at=0.1),))) == {"lost"}
    not_again = (Became("rep-1", "unknown", "", 0.0), Became("rep-1", "failed", "human_owns", 1.0))
    assert broken(replace(history, became=not_again)) == {"lost"}
    assert judge(replace(history, became=not_again, people=there)).held


SILENT = replace(ONE, taken=(), generated=(), became=())
"""Nothing was decided about the one message, which was sent at 0 s and acknowledged at 0.5 s."""


def test_a_message_is_left_to_the_person_who_answers_that_conversation_and_no_other():
    there = PersonWrote("#c0p1", "contact-0", 0.0, 0.2)
    assert judge(replace(SILENT, people=(there,))).fates == {"left to a person": 1}
    assert "lost" in broken(replace(SILENT, people=(replace(there, contact="contact-1"),)))
    assert "lost" in broken(replace(SILENT, people=(replace(there, acknowledged_at=None),)))


@pytest.mark.parametrize(
    ("begun", "acknowledged", "theirs"),
    [
        (-12 * 3600.0 - 1, -12 * 3600.0 - 0.5, False),
        (-12 * 3600.0 + 1, -12 * 3600.0 + 1.5, True),
        (50.0, 50.1, True),
        (61.0, 61.1, False),
    ],
)
def test_a_person_has_what_came_within_their_pause_and_what_still_waited_when_they_wrote(begun, acknowledged, theirs):
    history = replace(SILENT, people=(PersonWrote("#c0p1", "contact-0", begun, acknowledged),))
    assert judge(history).held == theirs


def test_a_message_that_was_taken_back_needs_no_answer_once_that_is_acknowledged():
    assert judge(replace(SILENT, said=(replace(ONE.said[0], unsent_at=2.0),))).fates == {"taken back": 1}
    assert "lost" in broken(SILENT)
    assert "lost" in broken(replace(SILENT, said=(replace(ONE.said[0], unsent_at=3600.0),)))


def test_a_notification_ends_the_messages_its_decision_covers_and_only_those():
    notified = Generated("rep-1", "contact-0", "model", "operator_notification", "", frozenset({ONE.said[0].event_id}))
    told = Taken(1, 0.0, "notification", "contact-0", "a person is needed", reply_id="rep-1")
    history = replace(ONE, generated=(notified,), taken=(told,))
    assert judge(history).fates == {"told a person": 1}
    assert "lost" in broken(replace(history, taken=()))
    assert "lost" in broken(replace(history, taken=(replace(told, reply_id="rep-2"),)))


def test_an_apology_counts_where_it_arrived_and_may_come_once_a_decision():
    sorry = Generated("rep-1", "contact-0", "apology", "direct_message", "Sorry!", frozenset({ONE.said[0].event_id}))
    said = Taken(1, 0.0, "message", "contact-0", "Sorry!")
    history = replace(ONE, generated=(sorry,), taken=(said,))
    assert judge(history).fates == {"apologised": 1}
    assert broken(replace(history, taken=(said, replace(said, number=2)))) == {"twice"}


def test_two_messages_may_hear_the_same_apology_and_each_must():
    history = lived([[1, 1]])
    generated = tuple(replace(one, origin="apology", text="Sorry!") for one in history.generated)
    taken = tuple(replace(one, text="Sorry!") for one in history.taken)
    both = replace(history, generated=generated, taken=taken)
    assert judge(both).fates == {"apologised": 2}
    assert "lost" in broken(replace(both, taken=taken[:1]))
    not_known = replace(
        both, taken=taken[1:], became=(Became("rep-1", "failed", "outcome_unknown", 1.0), both.became[1])
    )
    assert [breach.ids[0] for breach in judge(not_known).broken("lost")] == ["#c0m1"]


def test_an_apology_and_an_answer_for_the_same_message_are_two():
    sorry = replace(ONE.generated[0], reply_id="rep-0", origin="apology", text="Sorry!")
    first = replace(ONE.taken[0], number=0, text="Sorry!")
    became = (*ONE.became, Became("rep-0", "delivered", "", 0.0))
    history = replace(ONE, generated=(sorry, *ONE.generated), taken=(first, *ONE.taken), became=became)
    assert broken(history) == {"twice"}


def test_a_message_that_two_decisions_answer_in_different_words_is_found():
    other = replace(ONE.generated[0], reply_id="rep-2", text="Once more, about #c0m1.")
    again = replace(ONE.taken[0], number=2, text=other.text)
    became = (*ONE.became, Became("rep-2", "delivered", "", 9.0))
    history = replace(ONE, generated=(*ONE.generated, other), taken=(*ONE.taken, again), became=became)
    assert broken(history) == {"twice"}
    untagged = replace(again, text="Once more.")
    mute = replace(history, generated=(*ONE.generated, replace(other, text="Once more.")), taken=(*ONE.taken, untagged))
    assert broken(mute) == {"twice"}


def test_replies_of_one_decision_in_two_places_are_one_answer():
    said = (replace(ONE.said[0], channel="comment", comment="9"),)
    below = replace(ONE.generated[0], kind="comment_reply", comment="9", decision="dec")
    private = replace(below, reply_id="rep-2", kind="private_reply", text="See #c0m1 here.")
    taken = (
        Taken(1, 1.0, "comment_reply", "contact-0", below.text, "9"),
        Taken(2, 1.0, "private_reply", "contact-0", private.text, "9"),
    )
    became = (*ONE.became, Became("rep-2", "delivered", "", 1.0))
    history = replace(ONE, said=said, generated=(below, private), taken=taken, became=became)
    assert judge(history).held
    assert broken(replace(history, generated=(below, replace(private, decision="other")))) == {"twice"}


def test_a_reply_that_is_said_to_be_delivered_must_have_been_taken_although_a_person_was_told():
    notice = replace(ONE.generated[0], reply_id="rep-n", kind="operator_notification", text="see")
    told = Taken(1, 1.0, "notification", "contact-0", "see", reply_id="rep-n")
    became = (*ONE.became, Became("rep-n", "delivered", "", 1.0))
    history = replace(ONE, generated=(*ONE.generated, notice), became=became, taken=(*ONE.taken, told))
    assert judge(history).held
    assert broken(replace(history, taken=(told,))) == {"lost"}
    assert broken(replace(history, taken=ONE.taken)) == {"lost"}
    given_up = (Became("rep-1", "failed", "outcome_unknown", 1.0), became[1])
    assert judge(replace(history, taken=(told,), became=given_up)).fates == {"told a person": 1}


def test_a_delivered_reply_that_answers_nothing_we_know_must_have_been_taken_too():
    stray = replace(ONE.generated[0], reply_id="rep-9", text="By the way.", answers=frozenset())
    became = (*ONE.became, Became("rep-9", "delivered", "", 1.0))
    assert broken(replace(ONE, generated=(*ONE.generated, stray), became=became)) == {"lost"}


LONG = (f"About #c0m1. {'At length. ' * 90}".strip(), f"And then: {'more. ' * 90}".strip())
"""The two parts of an answer; the second carries no tag."""


def long_answer(*parts: str) -> History:
    """Return a history in which these parts of the long answer were taken."""
    generated = (replace(ONE.generated[0], text="\n ".join(LONG)),)
    taken = tuple(replace(ONE.taken[0], number=number, text=text) for number, text in enumerate(parts))
    return replace(ONE, generated=generated, taken=taken)


def test_a_long_answer_is_an_answer_when_all_of_it_was_taken_once_and_in_order():
    assert judge(long_answer(*LONG)).fates == {"answered": 1}
    assert broken(long_answer(LONG[0])) == {"lost"}
    assert broken(long_answer(LONG[1])) == {"lost"}
    assert broken(long_answer(LONG[1], LONG[0])) == {"lost"}
    assert broken(long_answer(*LONG, LONG[1])) == {"twice"}
    assert broken(long_answer(*LONG, "more. " * 20)) == {"twice"}


def test_a_private_answer_that_was_shortened_is_whole():
    said = (replace(ONE.said[0], channel="comment", comment="9"),)
    generated = (replace(ONE.generated[0], kind="private_reply", comment="9", text=" ".join(LONG)),)
    taken = (replace(ONE.taken[0], kind="private_reply", comment="9", text=LONG[0] + "…"),)
    assert judge(replace(ONE, said=said, generated=generated, taken=taken)).held


def test_a_dead_letter_is_an_end_only_if_somebody_was_told_of_that_very_message():
    history = lived([[1, 1]])
    died = history.said[1]
    dead = DeadLetter(INTERACTIONS + ".dlq", died.event_id, "failed 5 times: KeyError")
    generated, became = history.generated[:1], history.became[:1]
    history = replace(history, taken=history.taken[:1], generated=generated, became=became, dead=(dead,))
    assert [breach.what for breach in judge(history).broken("lost")] == [
        "dead-lettered in silence: failed 5 times: KeyError"
    ]
    of_another = Taken(9, 1.0, "notification", "contact-0", "a person is needed", reply_id="rep-1")
    assert "lost" in broken(replace(history, taken=(*history.taken, of_another)))
    assert "lost" in broken(replace(history, taken=(*history.taken, replace(of_another, reply_id=""))))
    notice = replace(generated[0], reply_id="rep-d", kind="operator_notification", answers=frozenset({died.event_id}))
    told = replace(of_another, reply_id="rep-d")
    mended = replace(
        history,
        generated=(*generated, notice),
        taken=(*history.taken, told),
        became=(*became, Became("rep-d", "delivered", "", 1.0)),
    )
    assert judge(mended).fates == {"answered": 1, "dead-lettered and told": 1}
    assert judge(mended).held


def test_a_partition_of_which_a_group_has_committed_nothing_is_not_settled():
    assert broken(replace(ONE, committed={"ai": {}, "delivery": {}})) == {"settled"}
    assert broken(replace(ONE, committed={"ai": ONE.committed["ai"]})) == {"settled"}
    assert judge(replace(ONE, ends={**ONE.ends, ("privacy.v1", 0): 7})).held


@given(st.floats(0.0, 100.0))
def test_a_bots_message_after_a_persons_is_found_unless_it_was_under_way(late):
    person = PersonWrote("#c0p1", "contact-0", 0.0, acknowledged_at=0.7)
    history = replace(ONE, people=(person,), taken=(replace(ONE.taken[0], time=0.7 + late),))
    assert broken(history) == ({"ownership"} if 0.7 + late - 0.7 > 5.0 else set())


@pytest.mark.parametrize(
    ("announced", "expected"), [((0.6,), set()), ((0.8,), {"ownership"}), ((0.6, 0.8), {"ownership"}), ((2.0,), set())]
)
def test_what_was_announced_after_a_persons_message_is_found_however_soon_it_was_taken(announced, expected):
    person = PersonWrote("#c0p1", "contact-0", 0.0, acknowledged_at=0.7)
    taken = (replace(ONE.taken[0], time=0.9),)
    assert broken(replace(ONE, people=(person,), taken=taken, announced={"rep-1": announced})) == expected


def test_a_forged_webhook_must_be_refused_and_do_nothing():
    forged = replace(ONE.said[0], forged=True, acknowledged_at=None, statuses=(401, 403))
    quiet = replace(ONE, said=(forged,), taken=(), generated=(), became=(), appended={})
    assert judge(quiet).held
    assert broken(replace(quiet, said=(replace(forged, statuses=(200,)),))) == {"forged"}
    assert broken(replace(quiet, appended=ONE.appended)) == {"forged"}
    assert broken(replace(quiet, taken=ONE.taken)) == {"forged"}


COMMENTED = replace(
    ONE,
    said=(replace(ONE.said[0], channel="comment", comment="9"),),
    generated=(replace(ONE.generated[0], kind="private_reply", comment="9"),),
    taken=(Taken(1, 1.0, "private_reply", "contact-0", "About #c0m1.", comment="9"),),
)


def test_one_private_answer_a_comment():
    assert judge(COMMENTED).held
    again = replace(COMMENTED.taken[0], number=2, text="More about #c0m1.")
    assert broken(replace(COMMENTED, taken=(*COMMENTED.taken, again))) == {"private_reply", "twice"}


def test_a_comment_is_answered_where_it_stands_whatever_the_answer_mentions():
    public = replace(COMMENTED.taken[0], kind="comment_reply", text="About #c0m1 #c0m2.")
    decided = (replace(COMMENTED.generated[0], kind="comment_reply", text=public.text),)
    commented = replace(COMMENTED, generated=decided, taken=(public,))
    assert judge(commented).held
    assert broken(replace(commented, taken=(replace(public, comment="8"),))) == {"lost"}
    assert broken(replace(commented, taken=(public, replace(public, number=2)))) == {"twice"}


def test_a_comment_that_a_message_only_mentions_is_not_answered_by_it():
    assert broken(replace(COMMENTED, taken=ONE.taken)) == {"lost"}


@pytest.mark.parametrize(
    ("final", "found_by", "told", "how"),
    [
        (Became("rep-1", "delivered", "", 2.0), {"rep-1": "echo"}, (), "echo"),
        (Became("rep-1", "delivered", "", 2.0), {"rep-1": "sent_again"}, (), "sent_again"),
        (Became("rep-1", "delivered", "", 2.0), {}, (), "delivered"),
        (Became("rep-1", "failed", "outcome_unknown", 2.0), {}, ("rep-1",), "handed to a person"),
        (Became("rep-1", "failed", "outcome_unknown", 2.0), {}, (), "handed to nobody"),
        (None, {}, (), "not settled"),
    ],
)
def test_it_says_how_each_unknown_outcome_was_settled(final, found_by, told, how):
    became = (Became("rep-1", "unknown", "", 1.0), *([final] if final else []))
    notices = tuple(Taken(9, 1.0, "notification", "contact-0", "look", reply_id=reply) for reply in told)
    history = replace(ONE, became=became, found_by=found_by, taken=(*ONE.taken, *notices))
    assert judge(history).unknown == {how: 1}


def test_every_promise_that_is_judged_can_be_broken():
    """Each name that a check uses is described, so that the report has a line for it."""
    assert set(INVARIANTS) == {
        *("lost", "twice", "order", "ownership", "forged", "committed_past", "private_reply", "settled"),
        *("erased", "foreign"),
    }


@pytest.mark.parametrize(("late", "expected"), [(250.0, set()), (400.0, {"lost"})])
def test_a_person_has_what_was_taken_in_and_waited_on_a_busy_machine_but_not_for_ever(late, expected):
    said = replace(ONE.said[0], sent_at=0.0, acknowledged_at=1.0)
    person = PersonWrote(tag="#p1", contact=said.contact, sent_at=100.0 + late, acknowledged_at=101.0 + late)
    history = replace(ONE, said=(said,), people=(person,), taken=(), generated=(), became=())
    assert broken(replace(history, taken_in={said.event_id: 100.0})) & {"lost"} == expected
    assert "lost" in broken(history)
