"""What is told about an account in public and is no comment under its posts: mentions, and changes of a page's feed.

**Mentions** come through Facebook Login only, mostly with nothing but ids (with Instagram Login a mention is a comment
and answered as one). A merchant's rule for the channel `mention` may answer: publicly, and nobody can delete that
answer later. Where no rule applies a person is told, once, for the model knows nothing of what was said. A mention in
a comment under one of the account's own posts comes as a comment, too; that is answered once, in whichever order.

**Feed changes** are about a Facebook page. Its comments cannot be answered from here: their ids are the page's, and the
Instagram API, with an Instagram token, knows neither. So nobody answers them; the merchant's comment rules are asked
whether a person is to be told. What was stored of a comment follows what becomes of it: edited, removed, hidden, shown.
All else that happens on a page is counted.

One decision for each of them, stored under an id derived from it before anything is published: a redelivery says the
same again, and delivery recognises it.
"""

from datetime import datetime
from typing import Any, Literal, Protocol

import structlog

from ai.announcing import Announcer
from ai.incoming import Incoming, is_username
from ai.language import language_of
from ai.messages import Edited, Stored
from ai.ruling import Rulings
from common.clock import Clock
from common.events.ids import interaction_id
from common.events.interactions import FeedChanged, MentionReceived, StoryInsightsReceived
from common.merchants import Merchant

log = structlog.get_logger("ai")

MENTIONED = "mentioned"

NoticeOutcome = Literal["answered", "observed", "ignored"]


class Messages(Protocol):
    """Keeps what was written."""

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:
        """Store a comment once and return how it is stored."""
        ...

    async def edit(self, message_id: str, text: str, *, number: int, about: dict[str, Any]) -> Edited:
        """Replace a comment's text."""
        ...

    async def erase(self, message_id: str, *, about: dict[str, Any]) -> None:
        """Forget what a comment held."""
        ...

    async def note_hidden(self, message_id: str, *, hidden: bool) -> None:
        """Note that a comment was hidden, or is shown again."""
        ...


class Lines(Protocol):
    """Keeps what conversations remember."""

    async def reword(self, conversation_id: str, line_id: str, text: str) -> None:
        """Replace the text of a line."""
        ...

    async def erase(self, conversation_id: str, line_id: str) -> None:
        """Forget what a line said."""
        ...


class Observer(Protocol):
    """Is told what happens on pages."""

    def feed_changed(self, item: str, verb: str) -> None:
        """Note a change."""
        ...


class Notices:
    """Handles mentions, feed changes and stories' figures."""

    def __init__(
        self,
        *,
        messages: Messages,
        lines: Lines,
        rulings: Rulings,
        announcer: Announcer,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._messages = messages
        self._lines = lines
        self._rulings = rulings
        self._announcer = announcer
        self._observer = observer
        self._clock = clock

    async def handle(
        self, merchant: Merchant, event: MentionReceived | FeedChanged | StoryInsightsReceived
    ) -> NoticeOutcome:
        """Do what a notice asks for. Raises PyMongoError, KafkaError, Retryable: the call is to be repeated then."""
        match event:
            case MentionReceived():
                return await self.mentioned(merchant, event)
            case FeedChanged():
                return await self.feed_changed(merchant, event)
            case StoryInsightsReceived():
                return self.story_ended(merchant, event)

    async def mentioned(self, merchant: Merchant, event: MentionReceived) -> NoticeOutcome:
        """Answer a mention by rule, or tell a person of it. Raises PyMongoError, KafkaError, Retryable."""
        said = mention(event, merchant.username)
        if said is None:
            return "ignored"
        if await self._is_answered_as_comment(said):
            return "observed"
        language = language_of(said.text, None)
        # Without its media there is nothing to write under.
        rule = self._rulings.rule_for(merchant, said) if said.media_id is not None else None
        if rule is not None:
            decision = self._rulings.by_rule(rule, merchant, said, (said.id,), language)
        else:
            decision = self._rulings.told(MENTIONED, merchant, said, language)
        decision = await self._announcer.store(decision)
        await self._announcer.say(decision)
        return "answered"

    async def _is_answered_as_comment(self, said: Incoming) -> bool:
        """Tell whether the comment that mentions the account came as a comment of its own, and was decided about.

        Nobody need be told of it then. Where both are decided at once, or the mention first, the ledger of delivery
        sees to it that the bot answers in public once.
        """
        if said.comment_id is None or await self._announcer.covering(said.id) is not None:
            return False
        comment = interaction_id(said.account_id, "cm", said.comment_id)
        return await self._announcer.covering(comment) is not None

    async def feed_changed(self, merchant: Merchant, event: FeedChanged) -> NoticeOutcome:
        """Do what a change of the page's feed asks for. Raises PyMongoError, KafkaError, Retryable."""
        change = event.data
        self._observer.feed_changed(change.item or "", change.verb or "")
        if change.item != "comment" or change.comment_id is None:
            return "ignored"
        id_ = interaction_id(change.account_id, "cm", change.comment_id)
        about = {
            "conversation_id": change.conversation_id,
            "merchant_id": merchant.id,
            "channel": "comment",
            "at": event.time,
        }
        match change.verb:
            case "add":
                return await self._commented(merchant, event, id_)
            case "edited":
                text = (change.text or "").strip()
                if await self._messages.edit(id_, text, number=int(event.time.timestamp()), about=about):
                    await self._lines.reword(change.conversation_id, id_, text)
            case "remove":
                await self._messages.erase(id_, about=about)
                await self._lines.erase(change.conversation_id, id_)
            case "hide" | "unhide":
                await self._messages.note_hidden(id_, hidden=change.verb == "hide")
            case _:
                return "ignored"
        return "observed"

    async def _commented(self, merchant: Merchant, event: FeedChanged, id_: str) -> NoticeOutcome:
        """Store a comment on the page, and tell a person of it where a rule for comments says so."""
        said = page_comment(event, id_)
        if said is None:
            return "ignored"
        stored = await self._messages.store(said, merchant_id=merchant.id, now=self._clock.now())
        if stored.unsent:
            return "observed"
        said = said.reworded(stored.text)
        rule = self._rulings.rule_for(merchant, said)
        if rule is None or rule.then.alert is None:
            return "observed"
        decision = self._rulings.told(rule.then.alert, merchant, said, language_of(said.text, None))
        await self._announcer.say(await self._announcer.store(decision))
        return "answered"

    def story_ended(self, merchant: Merchant, event: StoryInsightsReceived) -> NoticeOutcome:
        """Write a story's figures to the log; -1 is a figure that the platform hides because it is small."""
        data = event.data
        log.info("story.ended", merchant=merchant.id, media=data.media_id, figures=data.figures)
        return "observed"


def mention(event: MentionReceived, username: str = "") -> Incoming | None:
    """Return what is known of a mention, None where the account mentioned itself. `username` is the account's."""
    data = event.data
    if data.from_account or data.is_self or data.contact_id == data.account_id:
        return None
    if data.contact_id is None and is_username(data.username, username):
        return None
    text = (data.text or "").strip()
    return Incoming(
        id=event.id,
        account_id=data.account_id,
        contact_id=data.contact_id,
        conversation_id=data.conversation_id,
        channel="mention",
        at=event.time,
        text=text,
        shown=text or "[mention]",
        received_at_ms=data.received_at_ms,
        comment_id=data.comment_id,
        media_id=data.media_id,
        traceparent=event.traceparent,
    )


def page_comment(event: FeedChanged, id_: str) -> Incoming | None:
    """Return a comment that a customer wrote on the page, also one whose author is not named; None for the page's."""
    data = event.data
    if data.from_account or data.contact_id == data.account_id:
        return None
    text = (data.text or "").strip()
    return Incoming(
        id=id_,
        account_id=data.account_id,
        contact_id=data.contact_id,
        conversation_id=data.conversation_id,
        channel="comment",
        at=event.time,
        text=text,
        shown=text or "[comment without text]",
        received_at_ms=data.received_at_ms,
        comment_id=data.comment_id,
        traceparent=event.traceparent,
    )
