"""A plan is repeatable, breaks enough, never too much at once, and ends with everything whole."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan import (
    FREEZE_SECONDS,
    NEVER_REACHED,
    RECOVERY,
    SLOWEST_PLATFORM,
    Plan,
    places_of,
)
from steps import (
    BreakWire,
    Edit,
    Freeze,
    Kill,
    KillAt,
    Misbehave,
    Replica,
    Say,
    Unsend,
    Webhook,
    conversation_of,
)

from common.failpoints import PLACES

plans = st.builds(Plan.of, st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.0, 0.5, 2.0]))
few = settings(max_examples=40, deadline=None)


def kills_of(plan):
    return [fault for fault in plan.faults if isinstance(fault, Kill | KillAt)]


def apart(spans):
    return all(one[1] <= next_[0] for one, next_ in pairwise(sorted(spans)))


@few
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_a_seed_gives_one_plan_and_another_seed_another(seed, kills):
    plan = Plan.of(seed, kills)
    assert list(plan.lines()) == list(Plan.of(seed, kills).lines())
    assert plan == Plan.of(seed, kills)
    assert plan.digest != Plan.of(seed + 1, kills).digest


@few
@given(plans)
def test_every_plan_kills_as_often_as_it_was_asked_to(plan):
    assert len(kills_of(plan)) >= plan.kills
    assert all(0 < kill.at < plan.heal_at for kill in kills_of(plan))


@few
@given(plans)
def test_everything_that_is_broken_is_whole_again_before_the_end(plan):
    assert all(fault.until <= plan.heal_at for fault in plan.faults)
    assert all(webhook.at < plan.quiet_at for webhook in plan.webhooks)
    assert any(webhook.at > plan.heal_at for webhook in plan.webhooks)


@few
@given(plans)
def test_only_one_store_is_in_trouble_at_a_time(plan):
    spans = [(k.at, k.at + RECOVERY[k.victim]) for k in kills_of(plan) if k.victim in RECOVERY]
    spans += [(b.at, b.until + 2) for b in plan.faults if isinstance(b, BreakWire) and b.wire in {"kafka", "mongo"}]
    assert apart(spans)


@few
@given(plans)
def test_one_process_is_frozen_at_a_time_and_past_every_lease(plan):
    freezes = [fault for fault in plan.faults if isinstance(fault, Freeze)]
    assert apart([(f.at, f.until) for f in freezes])
    assert all(FREEZE_SECONDS[0] <= f.seconds <= FREEZE_SECONDS[1] for f in freezes)


@few
@given(plans)
def test_a_service_has_two_replicas_at_most_and_a_wire_one_fault(plan):
    for service in ("ai", "delivery"):
        assert apart([(r.at, r.until) for r in plan.faults if isinstance(r, Replica) and r.service == service])
    for name in ("graph", "manychat", "openai", "kafka", "mongo"):
        wires = [(b.at, b.until) for b in plan.faults if isinstance(b, BreakWire) and b.wire == name]
        assert apart(wires + [(m.at, m.until) for m in plan.faults if isinstance(m, Misbehave) and m.api == name])


@few
@given(plans)
def test_no_platform_takes_a_request_later_than_anybody_can_know(plan):
    faults = [fault for fault in plan.faults if isinstance(fault, Misbehave)]
    assert all(fault.wait <= SLOWEST_PLATFORM for fault in faults if fault.behaviour == "slow")
    assert all(fault.delay <= SLOWEST_PLATFORM for fault in plan.faults if isinstance(fault, BreakWire))


@few
@given(plans)
def test_nothing_is_changed_taken_back_or_delivered_again_before_it_was_said(plan):
    said: dict[Say, float] = {}
    for webhook in plan.webhooks:
        for item in webhook.items:
            if isinstance(item, Say) and not webhook.again and not webhook.forged:
                assert item not in said
                said[item] = webhook.at
    for webhook in plan.webhooks:
        for item in webhook.items:
            if isinstance(item, Edit | Unsend):
                assert said[item.say] <= webhook.at
            elif webhook.again:
                assert said[item] <= webhook.at


@few
@given(plans)
def test_a_conversations_messages_are_sent_in_the_order_of_their_numbers(plan):
    last: dict[int, int] = {}
    for webhook in plan.webhooks:
        conversations = [conversation_of(item) for item in webhook.items]
        assert len(set(conversations)) == len(conversations)
        for item in webhook.items:
            if isinstance(item, Say) and not webhook.again and not webhook.forged:
                assert item.number > last.get(item.conversation, 0)
                last[item.conversation] = item.number


def test_a_long_plan_has_everything_in_it():
    plan = Plan.of(1, 200)
    assert {type(step).__name__ for step in plan.steps} == {
        *("Webhook", "Kill", "KillAt", "Restart", "Freeze", "Replica", "BreakWire", "Misbehave", "BendEchoes"),
        *("EchoesAgain", "ClockSkew", "MerchantTrouble", "ForeignRecords", "Transaction", "ForgeCommits", "Truncate"),
    }
    items = [item for webhook in plan.webhooks for item in webhook.items]
    assert {type(item).__name__ for item in items} == {"Say", "Edit", "Unsend", "PersonAnswers", "Erase"}
    assert {item.how for item in items if isinstance(item, Say)} == {
        *("text", "long", "story", "postback", "comment", "live")
    }
    assert {kill.victim for kill in kills_of(plan)} == {"ingest", "ai", "delivery", "cleanup", "kafka", "mongo"}
    assert any(isinstance(step, Webhook) and step.copies > 1 for step in plan.steps)
    assert any(isinstance(step, Webhook) and len(step.items) > 1 for step in plan.steps)


def test_every_place_where_a_process_can_die_is_drawn_sooner_or_later():
    drawn = {k.place for seed in range(6) for k in kills_of(Plan.of(seed, 200)) if isinstance(k, KillAt)}
    assert drawn == PLACES.keys() - NEVER_REACHED
    assert set(places_of("ai")) & set(places_of("delivery")) == {"kafka.after_done_before_commit"}
    assert places_of("cleanup") == ()


def test_no_plan_without_a_kill():
    with pytest.raises(ValueError, match="kills"):
        Plan.of(1, 0)
