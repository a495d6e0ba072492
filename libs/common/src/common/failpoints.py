"""Named places between two effects where a process can be made to die, so that tests can prove what survives it.

`JAWAB_FAILPOINT=delivery.after_http_before_ledger` kills the process (SIGKILL, nothing is flushed) the first time it
comes by; `…=3` the third time; several are separated by commas. A sabotage does not kill: it takes one guarantee's
mechanism away, so that the crash suite can show that it would notice.

Only development may arm them (`common.settings` refuses otherwise). The armed ones are the module's only state: a place
is a line in the middle of a step, and threading a switch through every constructor to it would cost more than it tells.
"""

import os
import signal
from collections.abc import Mapping
from types import MappingProxyType

import structlog

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "ingest.after_append_before_answer": "the events are in Kafka, Meta has no answer",
        "ai.after_message_before_decision": "the message is stored, nothing is decided",
        "ai.after_transcript_before_decision": "a voice message's transcript is stored, nothing is decided",
        "ai.after_model_before_decision": "the model has answered, the decision is not stored",
        "ai.after_decision_before_publish": "the decision is stored, its replies are not published",
        "ai.after_publish_before_done": "the replies are published, the record is not done",
        "delivery.before_claim": "the reply was read, the ledger knows nothing",
        "delivery.after_attempting_before_http": "the ledger says attempting, nothing was sent",
        "delivery.after_http_before_ledger": "the platform has answered, the ledger says attempting",
        "delivery.after_ledger_before_publish": "the ledger says delivered, the outcome is not published",
        "delivery.after_publish_before_done": "the outcome is published, the record is not done",
        "delivery.after_unknown_before_publish": "the ledger says unknown, nobody was told",
        "delivery.after_echo_before_done": "an echo resolved a send, its record is not done",
        "delivery.after_own_comment_before_done": "an own comment resolved a public reply, its record is not done",
        "cleanup.after_tombstone_before_erasing": "the tombstone is written, nothing is deleted",
        "cleanup.between_deletions": "some of a customer's documents are deleted",
        "cleanup.after_erasing_before_done": "all of a customer's documents are deleted, nothing says so",
        "kafka.after_dead_letter_before_done": "the dead letter is written, the record is not done",
        "kafka.after_done_before_commit": "a record is done, its offset is not committed",
    }
)
"""Where a process can be made to die, and what is true there."""

SABOTAGES: Mapping[str, str] = MappingProxyType(
    {
        "sabotage.no_fence": "ledger rows are overwritten whatever their state and fence",
        "sabotage.attempting_after_call": "the ledger says attempting only after the call was made",
        "sabotage.eager_commit": "offsets are committed as soon as a record was read",
        "sabotage.no_lookout": "a reply is sent without a look at what was observed since it was judged",
    }
)
"""What can be taken away, and what is then true."""

log = structlog.get_logger("failpoints")

_armed: dict[str, int] = {}


def parse(setting: str) -> dict[str, int]:
    """Return what `JAWAB_FAILPOINT` names, each with the pass at which it acts. Raises ValueError with the way out."""
    wanted: dict[str, int] = {}
    for piece in filter(None, (part.strip() for part in setting.split(","))):
        name, is_counted, nth = piece.partition("=")
        if name not in PLACES and name not in SABOTAGES:
            kind = name.partition(".")[0]
            near = [one for one in (*PLACES, *SABOTAGES) if one.startswith(f"{kind}.")] or [*PLACES, *SABOTAGES]
            raise ValueError(f"{name} is no failpoint; there are {', '.join(near)}")
        if is_counted and not (name in PLACES and nth.isdecimal() and int(nth) > 0):
            raise ValueError(f"{piece}: after = comes the pass at which a place acts, 1 or more")
        wanted[name] = int(nth or 1)
    return wanted


def arm(setting: str) -> None:
    """Arm what the setting names, and nothing else."""
    _armed.clear()
    _armed.update(parse(setting))
    if _armed:
        log.warning("failpoints.armed", places=sorted(_armed))


def failpoint(place: str) -> None:
    """Die here if this place is armed and was passed often enough; otherwise nothing, at the price of a look."""
    if not _armed or place not in _armed:
        return
    _armed[place] -= 1
    if _armed[place] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


def sabotaged(name: str) -> bool:
    """Tell whether a mechanism was taken away."""
    return name in _armed
