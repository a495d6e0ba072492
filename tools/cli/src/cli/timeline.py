"""One conversation as it went, put together from what the services stored. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ai.decisions import Decision
from common.events.replies import OperatorNotification, Reply
from common.remedies import completed
from delivery.ledger import Row

ASKED: Mapping[str, str] = {"human": "a person over HTTP", "api": "a program over HTTP"}
NOT_KEPT = "(its text is not kept any more)"
UNASKED = "(its text is in Kafka, which did not answer)"

Speaker = Literal["customer", "jawab", "person", "note"]


@dataclass(frozen=True)
class Moment:
    """One thing that was said or done. `about` says how it came and what became of it, `detail` why, in a sentence."""

    at: datetime
    who: Speaker
    text: str = field(repr=False)
    about: str = ""
    id: str = ""
    detail: str = ""


def timeline(
    messages: Iterable[Mapping[str, Any]],
    decisions: Sequence[Decision],
    rows: Sequence[Row],
    lines: Iterable[Mapping[str, Any]] = (),
    texts: Mapping[str, str] | None = None,
) -> list[Moment]:
    """Return what happened, oldest first.

    `messages` are stored messages, `rows` the ledger's, `lines` the conversation's recent lines: only those that a
    person of the shop wrote are taken from there, because they are stored nowhere else. `texts` are those of replies
    that nobody here decided, by their ids, None where they could not be asked for.
    """
    ledger = {row.reply_id: row for row in rows}
    told = [_message(message) for message in messages]
    decided = {reply.data.reply_id for decision in decisions for reply in decision.replies}
    for decision in decisions:
        told += [_reply(reply.data, decision, ledger.get(reply.data.reply_id)) for reply in decision.replies]
    told += [_undecided(row, texts) for row in rows if row.reply_id not in decided]
    told += [
        Moment(line["at"], "person", line.get("text") or "", "from the account's inbox", str(line.get("id", "")))
        for line in lines
        if line.get("role") == "human"
    ]
    return sorted(told, key=lambda moment: moment.at)


def _message(message: Mapping[str, Any]) -> Moment:
    kinds = [f"[{attachment.get('type', 'attachment')}]" for attachment in message.get("attachments", ())]
    about = [str(message.get("channel", "")).replace("_", " ")]
    about += ["taken back"] if message.get("unsent") else []
    about += [f"edited {message['edits']} times"] if message.get("edits") else []
    about += ["standby"] if message.get("standby") else []
    heard = message.get("transcript")  # "" where a recording could not be heard, none where nobody listened
    about += ["not heard"] if heard == "" else []
    text = " ".join(filter(None, [*kinds, heard, message.get("text")]))
    return Moment(message["at"], "customer", text, ", ".join(filter(None, about)), str(message["_id"]))


def _reply(reply: Reply, decision: Decision, row: Row | None) -> Moment:
    how = f"rule {decision.rule}" if decision.rule else decision.origin
    what = reply.action.kind.replace("_", " ")
    about = f"{what} by {how}, {state_in_words(row)}"
    if isinstance(reply.action, OperatorNotification):
        called = f"a person was called: {reply.action.reason}"
        return Moment(decision.at, "note", called, about, reply.reply_id, _detail(row))
    return Moment(decision.at, "jawab", getattr(reply.action, "text", ""), about, reply.reply_id, _detail(row))


def _undecided(row: Row, texts: Mapping[str, str] | None) -> Moment:
    asked = ASKED.get(row.origin)
    about = f"{row.kind.replace('_', ' ')} by {asked or row.origin or 'nobody known'}, {state_in_words(row)}"
    text = (texts or {}).get(row.reply_id) or (UNASKED if texts is None and asked else NOT_KEPT)
    return Moment(row.at, "person" if row.origin == "human" else "jawab", text, about, row.reply_id, _detail(row))


def _detail(row: Row | None) -> str:
    if row is None:
        return ""
    return completed(row.detail, merchant_id=row.merchant_id, account_id=row.account_id)


def state_in_words(row: Row | None) -> str:
    """Say what became of a reply, as the ledger knows it."""
    if row is None:
        return "not with delivery yet"
    route = f" over {row.route}" if row.route != "none" else ""
    if row.state == "delivered" and row.finished_at is not None and row.received_at_ms:
        milliseconds = row.finished_at.timestamp() * 1000 - row.received_at_ms
        seen = f", seen {row.seen_at:%m-%d %H:%M:%S}" if row.seen_at is not None else ""
        return f"delivered{route} in {milliseconds:.0f} ms{seen}"
    reason = f": {row.reason}" if row.reason else ""
    return f"{row.state.replace('_', ' ')}{route}{reason}"
