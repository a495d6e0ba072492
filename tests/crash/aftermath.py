"""What may be left of a customer after an erasure, and of records that no service of ours wrote. Pure; see `oracle`."""

from collections.abc import Iterator

from history import History, Position, Said

ASKED_WITHIN = 300.0
"""Seconds that a message may wait, while everything is broken, for an answer that its writer's erasure forestalls."""
CARRIED_OUT_WITHIN = 20.0
"""Seconds after an erasure was accepted within which what is written may still go with the rest."""


def is_erased(history: History, said: Said) -> bool:
    """Tell whether an erasure explains that a message has no answer: asked for after it, and soon enough."""
    acknowledged_at = said.acknowledged_at
    return acknowledged_at is not None and any(
        one.contact == said.contact
        and one.acknowledged_at is not None
        and said.sent_at <= one.acknowledged_at + CARRIED_OUT_WITHIN
        and one.sent_at <= acknowledged_at + ASKED_WITHIN
        for one in history.erased
    )


def still_stored(history: History) -> Iterator[tuple[Said, tuple[str, ...]]]:
    """Yield each message that was acknowledged before an erasure was asked for, and where it is stored all the same."""
    for said in history.said:
        acknowledged_at = said.acknowledged_at
        if acknowledged_at is None or said.tag not in history.stored:
            continue
        before = (one for one in history.erased if one.contact == said.contact and acknowledged_at < one.sent_at)
        if any(one.acknowledged_at is not None for one in before):
            yield said, history.stored[said.tag]


def not_dead_lettered(history: History) -> Iterator[Position]:
    """Yield where foreign records lie that are in no dead-letter topic."""
    died = {dead.origin for dead in history.dead}
    yield from (position for position in history.foreign if position not in died)
