"""What an erasure and foreign records must leave behind, on histories nobody lived through."""

from dataclasses import replace

import pytest
from aftermath import ASKED_WITHIN, CARRIED_OUT_WITHIN
from history import DeadLetter, Erased, History
from hypothesis import given
from hypothesis import strategies as st
from oracle import judge
from test_oracle import INTERACTIONS, ONE, SILENT, THREE, broken

FOREIGN = (INTERACTIONS, 0, 7)
TAG = "#c0m1"


def erased_at(sent_at: float, history: History = ONE, *, acknowledged: bool = True) -> History:
    """Return the history with an erasure of its first customer."""
    accepted_at = sent_at + 0.1 if acknowledged else None
    return replace(history, erased=(Erased("contact-0", sent_at, accepted_at),))


def test_an_erasure_leaves_nothing_of_what_was_written_before_it():
    history = erased_at(10.0)
    assert judge(history).held
    kept = replace(history, stored={TAG: ("deliveries", "messages")})
    (breach,) = judge(kept).broken("erased")
    assert breach.ids == (TAG, "contact-0")
    assert breach.what == "is stored after its erasure: deliveries, messages"


def test_what_is_written_after_an_erasure_or_by_others_is_stored_rightly():
    stored = {TAG: ("messages",)}
    assert judge(replace(erased_at(0.2), stored=stored)).held
    assert judge(replace(erased_at(10.0, acknowledged=False), stored=stored)).held
    others = replace(ONE, erased=(Erased("contact-1", 10.0, 10.1),), stored=stored)
    assert judge(others).held


def test_an_erasure_explains_a_silence_before_it_and_none_after_it():
    assert judge(erased_at(10.0, SILENT)).fates == {"erased": 1}
    assert "lost" in broken(erased_at(-CARRIED_OUT_WITHIN - 1.0, SILENT))
    assert "lost" in broken(erased_at(ASKED_WITHIN + 1.0, SILENT))
    assert "lost" in broken(erased_at(10.0, SILENT, acknowledged=False))
    assert "lost" in broken(replace(SILENT, erased=(Erased("contact-1", 10.0, 10.1),)))


def test_an_erasure_is_no_excuse_for_a_second_answer():
    again = replace(THREE.taken[0], number=9, time=50.0)
    assert broken(erased_at(10.0, replace(THREE, taken=(*THREE.taken, again)))) == {"twice"}


def test_a_reply_about_an_erased_customer_needs_no_outcome():
    assert broken(replace(ONE, became=())) == {"committed_past"}
    assert judge(erased_at(10.0, replace(ONE, became=()))).held


@given(
    st.lists(st.tuples(st.just(INTERACTIONS), st.integers(0, 3), st.integers(0, 9)), unique=True, max_size=8), st.data()
)
def test_every_foreign_record_is_a_dead_letter(positions, data):
    dead = [DeadLetter(f"{INTERACTIONS}.dlq", "", "no event", origin=one) for one in positions]
    history = replace(ONE, foreign=tuple(positions), dead=(*dead, *dead))
    assert judge(history).held
    if positions:
        missing = data.draw(st.sampled_from(positions))
        without = tuple(one for one in dead if one.origin != missing)
        (breach,) = judge(replace(history, dead=without)).broken("foreign")
        assert breach.ids == (f"{missing[0]}/{missing[1]}@{missing[2]}",)


def test_a_foreign_record_that_stops_its_partition_is_found_by_what_is_not_committed():
    dead = DeadLetter(f"{INTERACTIONS}.dlq", "", "no event", origin=FOREIGN)
    stopped = {"ai": {**ONE.committed["ai"], FOREIGN[:2]: FOREIGN[2]}, "delivery": ONE.committed["delivery"]}
    assert broken(replace(ONE, foreign=(FOREIGN,), dead=(dead,), committed=stopped)) == {"settled"}


@pytest.mark.parametrize(("skew", "found"), [(0.0, True), (1.0, True), (5.0, False)])
def test_the_ledgers_times_are_as_uncertain_as_the_clocks_of_the_services(skew, found):
    from history import PersonWrote

    history = replace(ONE, people=(PersonWrote("#c0p1", "contact-0", 0.5, 0.9),), skew=skew)
    history = replace(history, announced={"rep-1": (1.0 + 2.0,)}, taken=(replace(ONE.taken[0], time=3.5),))
    assert bool(judge(history).broken("ownership")) == found
