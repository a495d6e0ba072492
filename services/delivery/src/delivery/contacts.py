"""A contact, as far as sending depends on it: when they last wrote, who answers them, what they agreed to, who they are
in ManyChat."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from delivery.rules.opt_ins import OptInToken

Owner = Literal["bot", "human"]

JAWAB = "jawab"
"""Stands in `owner_by` for Jawab itself, which hands a conversation to people."""

MOST_HIDDEN = 100
"""Comments of one person that are remembered as hidden or deleted here; the latest stay."""


@dataclass(frozen=True)
class Contact:
    """One person with one account. `is_self`: it is the account itself, which wrote to itself. `subscriber_at`: when
    ManyChat last confirmed who they are there; None while it has to be asked, or told.
    """

    conversation_id: str
    last_customer_at: datetime | None = None
    owner: Owner = "bot"
    owner_by: str = ""
    owner_since: datetime | None = None
    owner_until: datetime | None = None
    subscriber_id: int | None = None
    subscriber_at: datetime | None = None
    is_self: bool = False
    opt_ins: tuple[OptInToken, ...] = field(default=(), repr=False)
    hidden_comments: frozenset[str] = frozenset()

    def is_with_somebody(self, now: datetime) -> bool:
        """Tell whether a person answers this conversation at `now`."""
        return self.owner == "human" and (self.owner_until is None or now < self.owner_until)

    def is_with_a_person(self, decided_at: datetime, now: datetime) -> bool:
        """Tell whether a bot's reply that was decided at `decided_at` must stay unsent.

        What Jawab itself said when it handed the conversation over ("a colleague will answer you") was decided before
        the hand-over and still goes out; once a person took over or wrote, nothing does.
        """
        if not self.is_with_somebody(now):
            return False
        said_before = self.owner_since is not None and decided_at <= self.owner_since
        return not (self.owner_by == JAWAB and said_before)


class Contacts(Protocol):
    """Keeps contacts. All methods raise PyMongoError where the store is away."""

    async def find(self, conversation_id: str) -> Contact | None:
        """Return the contact, or None when nothing is known of them."""
        ...

    async def customer_acted(self, conversation_id: str, at: datetime) -> None:
        """Note that the customer did something that opens the window; an earlier moment changes nothing."""
        ...

    async def set_owner(
        self, conversation_id: str, owner: Owner, *, by: str, since: datetime, until: datetime | None
    ) -> None:
        """Note who answers from `since`; changes nothing where a later change is known."""
        ...

    async def remember_subscriber(
        self, conversation_id: str, subscriber_id: int | None, *, confirmed_at: datetime | None = None
    ) -> None:
        """Note who the contact is in ManyChat, or that this is not known any more."""
        ...

    async def met_subscriber(self, conversation_id: str, subscriber_id: int) -> None:
        """Note whom ManyChat itself named as the contact, to be linked yet; what is known already stays."""
        ...

    async def is_the_account_itself(self, conversation_id: str) -> None:
        """Note that this contact is the account, which wrote to itself."""
        ...

    async def opted_in(self, conversation_id: str, token: OptInToken) -> None:
        """Keep a token, free to be used; an opt-in that is known, or older than what is known, changes nothing."""
        ...

    async def opted_out(self, conversation_id: str, at: datetime) -> None:
        """Forget the tokens that were given until `at`, also those that are told of only later."""
        ...

    async def use_opt_in(self, conversation_id: str, token: str, reply_id: str) -> bool:
        """Keep a token for one reply; tell whether it is this reply's now."""
        ...

    async def give_back_opt_in(self, conversation_id: str, reply_id: str) -> None:
        """Free the token that is kept for a reply, if one is."""
        ...

    async def comment_hidden(self, conversation_id: str, comment_id: str, *, hidden: bool) -> None:
        """Note that a comment of the contact was hidden or deleted here, or is shown again."""
        ...
