"""What a decision does: texts become the actions that Instagram has for where the customer wrote.

Pure. A live comment has no public answer, so it is answered in private. Notifications name the conversation and never
quote the customer: what was taken back or erased must not live on in somebody's chat room.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ai.incoming import Incoming
from ai.language import Language
from common.events.ids import decision_id, reply_id
from common.events.replies import (
    Action,
    CommentReply,
    DirectMessage,
    HideComment,
    MentionReply,
    OperatorNotification,
    Origin,
    PrivateReply,
    Reply,
    ReplyGenerated,
)
from common.merchants import Merchant, Then
from common.tracing import continued

SOURCE = "/ai"
DEAD_LETTERED = "dead_lettered"

_ORDER: tuple[Language, ...] = ("ar", "en", "fr")


def of_rule(then: Then, said: Incoming, merchant: Merchant, language: Language) -> list[Action]:
    """Return what a rule does about what was said."""
    actions: list[Action] = []
    reply = in_language(then.reply, language)
    private = in_language(then.private_reply, language) if said.channel == "comment" else None
    if said.live and private:
        reply = None  # one private reply a comment, and live there is nothing else
    if reply is not None:
        actions.append(answering(filled(reply, merchant), said))
    if private is not None and said.comment_id is not None:
        actions.append(_privately(filled(private, merchant), said.comment_id, said))
    if then.hide_comment and said.comment_id is not None and said.channel == "comment":
        actions.append(HideComment(comment_id=said.comment_id))
    if then.alert is not None:
        actions.append(notification(then.alert, said, merchant))
    return actions


def answering(text: str, said: Incoming) -> Action:
    """Return the action that answers where the customer wrote."""
    if said.channel == "mention" and said.media_id is not None:
        return MentionReply(media_id=said.media_id, comment_id=said.comment_id, text=text)
    if said.comment_id is None:
        return DirectMessage(text=text)
    if said.live:
        return _privately(text, said.comment_id, said)
    return CommentReply(comment_id=said.comment_id, text=text, parent_id=said.parent_id)


def _privately(text: str, comment_id: str, said: Incoming) -> PrivateReply:
    return PrivateReply(comment_id=comment_id, text=text, live=said.live)


def notification(reason: str, said: Incoming, merchant: Merchant) -> OperatorNotification:
    """Return the notification that calls a person to a conversation."""
    where = f"comment {said.comment_id}" if said.comment_id is not None else "a direct message"
    if said.channel == "mention":
        where = f"a mention in {where if said.comment_id is not None else 'a caption'} at media {said.media_id}"
    return OperatorNotification(
        reason=reason,
        text=f"{merchant.name}: a person is needed ({reason}) for {where} in conversation {said.conversation_id}.",
    )


def in_language(texts: Mapping[Language, str], language: Language) -> str | None:
    """Return the text in `language`, else in the first other language there is, else None."""
    if language in texts:
        return texts[language]
    return next((texts[other] for other in _ORDER if other in texts), None)


def filled(text: str, merchant: Merchant) -> str:
    """Return a rule's text with the merchant's facts in it. Other braces stay as they are."""
    return text.replace("{price_link}", merchant.price_link).replace("{shop}", merchant.name)


def events(
    actions: Sequence[Action], *, decision: str, said: Incoming, merchant: Merchant, origin: Origin, now: datetime
) -> tuple[ReplyGenerated, ...]:
    """Return the events that carry `actions`, with ids derived from the decision."""
    return tuple(
        ReplyGenerated(
            id=reply_id(decision, index),
            source=SOURCE,
            subject=said.conversation_id,
            time=now,
            partitionkey=said.conversation_id,
            traceparent=continued(said.traceparent),
            causationid=said.id,
            data=Reply(
                reply_id=reply_id(decision, index),
                decision_id=decision,
                merchant_id=merchant.id,
                account_id=said.account_id,
                contact_id=said.contact_id,
                origin=origin,
                action=action,
                in_reply_to=said.id,
                customer_acted_at=said.at,
                received_at_ms=said.received_at_ms,
            ),
        )
        for index, action in enumerate(actions)
    )


def gave_up(said: Incoming, merchant: Merchant, *, now: datetime) -> ReplyGenerated:
    """Return the event that calls a person to what a customer said and nobody here can handle: once, by its id."""
    (event,) = events(
        [notification(DEAD_LETTERED, said, merchant)],
        decision=_no_decision(said.conversation_id, said.id),
        said=said,
        merchant=merchant,
        origin="apology",
        now=now,
    )
    return event


def gave_up_unread(conversation: str, place: str, merchant: Merchant, *, now: datetime) -> ReplyGenerated:
    """Return the event that calls a person because of a record that cannot be read; `place` is where it lies."""
    id_ = reply_id(_no_decision(conversation, place), 0)
    text = (
        f"{merchant.name}: something in conversation {conversation} could not be read and went to the dead letters. "
        "Please look at the conversation."
    )
    account, _, contact = conversation.partition(":")
    return ReplyGenerated(
        id=id_,
        source=SOURCE,
        subject=conversation,
        time=now,
        partitionkey=conversation,
        data=Reply(
            reply_id=id_,
            merchant_id=merchant.id,
            account_id=account,
            contact_id=contact or None,
            origin="apology",
            action=OperatorNotification(reason=DEAD_LETTERED, text=text),
        ),
    )


def _no_decision(conversation: str, about: str) -> str:
    """Return what stands for the decision that was never made, so that replies about it have ids of their own."""
    return decision_id(conversation, f"{DEAD_LETTERED}:{about}")
