"""Say who exists and what is known of them: a test begins in the world it needs, without living through it first."""

from dataclasses import asdict
from typing import Any

from litestar import get, post
from litestar.params import FromQuery, JSONBody
from pydantic import BaseModel, ConfigDict, Field

from devkit.sandbox.journal import MAX_ENTRIES_A_READ
from devkit.sandbox.world import Comment, Grant, World


class PersonTold(BaseModel):
    """What to know about a customer; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contact: str = Field(min_length=1)
    account: str | None = None
    username: str | None = None
    name: str | None = None
    last_message: float | None = None
    """When they last wrote, in seconds since 1970."""
    last_message_seconds_ago: float | None = Field(default=None, ge=0)
    subscriber: bool | None = None
    linked: bool | None = None
    unavailable: bool | None = None
    missing: bool | None = None
    owned_by_other_app: bool | None = None
    profile_error: int | None = None
    email: str | None = None
    phone: str | None = None
    custom_fields: dict[str, Any] | None = None


class GrantTold(BaseModel):
    """How old a Graph token is and when it ends, in seconds from now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    age_seconds: float = Field(default=0.0, ge=0)
    expires_seconds: float = 3600.0
    """Zero or less: it has ended."""
    long: bool = False


class AccountTold(BaseModel):
    """What to know about an account; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str = Field(min_length=1)
    username: str | None = None
    page_id: str | None = None
    tokens: list[str] | None = None
    """The only Graph tokens it answers to; an empty list lets any through."""
    subscribed_fields: list[str] | None = None
    """An empty list is a lost subscription: no webhook is posted for it."""
    app_scoped_id: str | None = None
    account_type: str | None = None
    permissions: list[str] | None = None
    authorized: bool | None = None
    """False: the person removed the app, so that no token opens anything."""
    grants: dict[str, GrantTold] | None = None
    """Tokens whose ages matter; each of them is one of the account's tokens, too."""


class CommentTold(BaseModel):
    """A comment that exists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    contact: str = Field(min_length=1)
    account: str | None = None
    text: str = ""
    created: float | None = None
    """When it was written, in seconds since 1970."""
    created_seconds_ago: float | None = Field(default=None, ge=0)
    product: str = "FEED"
    media: str = ""
    parent: str = ""
    hidden: bool = False


def people_routes(world: World) -> list[Any]:
    """Return the routes that show and change people, and what they commented."""

    @get("/people", sync_to_thread=False)
    def read_people(contact: FromQuery[str] = "") -> dict[str, Any]:
        people = [p.told() for p in world.people.values() if not contact or p.id == contact]
        return {"people": people[:MAX_ENTRIES_A_READ]}

    @post("/people", sync_to_thread=False)
    def tell_person(data: JSONBody[PersonTold]) -> dict[str, Any]:
        person = world.person(data.account or world.default_account, data.contact)
        told = data.model_dump(exclude_unset=True, exclude={"contact", "account", "last_message_seconds_ago"})
        for name, value in told.items():
            setattr(person, name, value)
        if data.last_message_seconds_ago is not None:
            person.last_message = world.now() - data.last_message_seconds_ago
        return person.told()

    @post("/comments", sync_to_thread=False)
    def tell_comment(data: JSONBody[CommentTold]) -> dict[str, Any]:
        created = data.created
        if data.created_seconds_ago is not None:
            created = world.now() - data.created_seconds_ago
        comment = Comment(
            data.id,
            data.account or world.default_account,
            data.contact,
            text=data.text,
            created=created if created is not None else world.now(),
            product=data.product,
            media=data.media,
            parent=data.parent,
            hidden=data.hidden,
        )
        world.receive_comment(comment)
        return asdict(comment)

    return [read_people, tell_person, tell_comment]


def account_routes(world: World) -> list[Any]:
    """Return the routes that show and change accounts, their tokens and what these may do."""

    @get("/accounts", sync_to_thread=False)
    def read_accounts() -> dict[str, Any]:
        listed = [
            {
                "account": account.id,
                "username": account.username,
                "page_id": account.page_id,
                "subscribed_fields": account.subscribed_fields,
                "tokens": len(account.tokens),
            }
            for account in world.accounts.values()
        ]
        return {"accounts": listed}

    @post("/accounts", sync_to_thread=False)
    def tell_account(data: JSONBody[AccountTold]) -> dict[str, Any]:
        account = world.account(data.account)
        told = data.model_dump(exclude_none=True, exclude={"account", "tokens", "permissions", "grants"})
        for name, value in told.items():
            setattr(account, name, value)
        if data.tokens is not None:
            world.replace_tokens(account, data.tokens)
        if data.permissions is not None:
            account.permissions = set(data.permissions)
        now = world.now()
        for token, grant in (data.grants or {}).items():
            account.tokens.add(token)
            account.grants[token] = Grant(now - grant.age_seconds, now + grant.expires_seconds, grant.long)
        return {"account": account.id, "username": account.username, "page_id": account.page_id}

    return [read_accounts, tell_account]
