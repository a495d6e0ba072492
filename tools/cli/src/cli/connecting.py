"""How an account is connected: one step after another, each told as it is done, and all of it repeatable.

    token         whose is it? It must be the merchant's, and a professional account's
    exchange      a token of an hour becomes one of 60 days, where the app's secret is known
    permissions   what the token lacks is named
    store         the token is sealed and kept
    subscribe     the app hears of the account's messages and comments from now on
    verify        the platform says that it does
    active        the account counts as connected, whatever was found out about it before

The token is stored before the subscription begins: what a customer writes in the first second already belongs to a
merchant. A step that fails ends it; what was done stays, and doing it again does it no second time.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from cli import screen
from cli.failures import Failure
from cli.merchant_store import MerchantStore
from common.accounts import MongoStandings, Standing
from common.graph_accounts import GraphAccounts, GraphRefused, GraphTrouble, LastingToken, Owner
from common.merchants import Account, Merchant
from common.sealing import NotOpenable, Sealer

FIELDS = (
    "messages",
    "comments",
    "live_comments",
    "message_echoes",
    "message_reactions",
    "messaging_handover",
    "messaging_optins",
    "messaging_postbacks",
    "messaging_referral",
    "messaging_seen",
    "standby",
)
"""What the app wants to hear of: the fields that Instagram Login has (Meta, "Webhooks", subscribed fields)."""

NEEDED_FIELDS = frozenset({"messages", "comments"})
"""Without these nobody is answered."""

PERMISSIONS = {
    "basic": ("instagram_business_basic", "instagram_basic"),
    "messages": ("instagram_business_manage_messages", "instagram_manage_messages"),
    "comments": ("instagram_business_manage_comments", "instagram_manage_comments"),
}
"""What each part needs, by its name under Instagram Login and under Facebook Login."""

OF_COMMENTS = frozenset({"comments", "live_comments", "mentions"})
PROFESSIONAL = frozenset({"BUSINESS", "MEDIA_CREATOR", "CREATOR", ""})
"""Kinds of account that have an API; "" where the platform does not tell."""

ENVIRONMENT = "the environment's merchant: its token is kept where it is"

Step = Literal["token", "exchange", "permissions", "store", "subscribe", "verify", "active"]
Mark = Literal["done", "warned", "would"]
T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """What is said of one step."""

    step: Step
    mark: Mark
    said: str


@dataclass(frozen=True)
class Wish:
    """What the operator wants. `token` None: the one that is stored; the ManyChat fields None: as they are stored."""

    merchant_id: str
    account: str | None = None
    token: str | None = field(default=None, repr=False)
    fields: tuple[str, ...] = FIELDS
    manychat_key: str | None = field(default=None, repr=False)
    igsid_field: int | None = None
    dry_run: bool = False

    @property
    def again(self) -> str:
        """The command that tries it again."""
        account = f" --account {self.account}" if self.account else ""
        return f"jawab merchants connect {self.merchant_id}{account}"


@dataclass(frozen=True)
class Connecting:
    """Connects accounts. `stored`: whether the merchant is in the database; the environment's own keeps its token."""

    graph: GraphAccounts
    store: MerchantStore
    standings: MongoStandings
    sealer: Sealer
    tell: Callable[[Told], None]
    stored: bool = True
    exchanges: bool = True
    app_id: str | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def connect(self, merchant: Merchant, wish: Wish) -> Account:
        """Do every step and return the account as it is then. Raises Failure naming the step, PyMongoError."""
        token = wish.token or self._stored_token(merchant, wish)
        owner = await self._step("token", wish, self.graph.owner(token))
        account = await self._whose(merchant, owner, wish)
        self._done("token", f"belongs to @{owner.username or '?'}, account {owner.account_id}")
        lasting = await self._lasting(token, account, wish)
        if lasting is not None:
            token = lasting.token
        await self._permitted(token, lasting, wish)
        account = self._renewed(account, owner, token, lasting, wish)
        await self._stored(account, wish)
        await self._subscribed(token, account.account_id, wish)
        await self._active(account.account_id, wish)
        return account

    def _stored_token(self, merchant: Merchant, wish: Wish) -> str:
        seen = merchant.seen_by(wish.account or merchant.account_id)
        if seen is None or seen.access_token is None:
            raise Failure("token: none is given and none is stored", f"{wish.again} --token prompt")
        try:
            return seen.opened("access_token", self.sealer) or ""
        except NotOpenable as error:
            raise Failure(f"token: {error}", f"{wish.again} --token prompt") from None

    async def _whose(self, merchant: Merchant, owner: Owner, wish: Wish) -> Account:
        if owner.account_type.upper() not in PROFESSIONAL:
            raise Failure(
                f"token: @{owner.username} is a {owner.account_type.lower()} account, which has no API",
                f"make it a professional account in the Instagram app, then {wish.again}",
            )
        if wish.account is not None and owner.account_id != wish.account:
            raise Failure(
                f"token: it belongs to account {owner.account_id} (@{owner.username}), not to {wish.account}",
                "log in with the right account, or correct --account",
            )
        seen = merchant.seen_by(owner.account_id)
        if seen is not None:
            return seen.accounts[0]
        if not self.stored:
            raise Failure(
                f"token: it belongs to account {owner.account_id} (@{owner.username}), not to INSTAGRAM_PAGE_ID",
                "correct INSTAGRAM_PAGE_ID or INSTAGRAM_ACCESS_TOKEN",
            )
        if wish.account is None:
            raise Failure(
                f"token: it belongs to account {owner.account_id} (@{owner.username}), "
                f"which merchant {merchant.id} does not have",
                f"to add it: {wish.again} --account {owner.account_id}; if the number was mistyped: "
                f"jawab merchants add {merchant.id} --update --account {owner.account_id}",
            )
        holder = await self.store.holder(owner.account_id, beside=merchant.id)
        if holder is not None:
            raise Failure(
                f"token: account {owner.account_id} already belongs to merchant {holder}",
                f"jawab merchants connect {holder}",
            )
        return Account(account_id=owner.account_id)

    async def _lasting(self, token: str, account: Account, wish: Wish) -> LastingToken | None:
        """Return the long-lived token in place of this one; None: it stays as it is."""
        if account.token_expires_at is not None and self._is_stored(token, account):
            self._done("exchange", f"not needed: the stored token lasts until {account.token_expires_at:%Y-%m-%d}")
            return None
        if not self.stored:
            self._done("exchange", f"not done: {ENVIRONMENT}")
            return None
        if not self.exchanges:
            self._warn("exchange", "not done: without IG_APP_SECRET a token of one hour ends after one hour")
            return None
        if wish.dry_run:
            self._would("exchange", "exchange it for a token of 60 days, unless it is one")
            return None
        try:
            lasting = await self._exchanged(token)
        except GraphRefused as refusal:
            self._warn(
                "exchange",
                f"not done: {refusal}. If the token was copied from the app's dashboard it already lasts 60 days from "
                "then; if it is one of an hour, see whether IG_APP_SECRET is the Instagram app's secret",
            )
            return None
        except GraphTrouble as trouble:
            raise _failed("exchange", trouble, wish) from None
        self._done("exchange", f"a token that lasts until {self._ends(lasting):%Y-%m-%d}")
        return lasting

    async def _exchanged(self, token: str) -> LastingToken:
        try:
            return await self.graph.exchanged(token)
        except GraphRefused as refusal:
            try:
                return await self.graph.renewed(token)  # it lasts already, and perhaps is a day old
            except GraphRefused:
                raise refusal from None

    async def _permitted(self, token: str, lasting: LastingToken | None, wish: Wish) -> None:
        granted = await self._step("permissions", wish, self.graph.permissions(token))
        if granted is None:
            granted = lasting.permissions if lasting is not None else None
        if granted is None:
            self._warn("permissions", "the platform does not tell them; whether they suffice the next steps will show")
            return
        lacking = lacking_permissions(granted, wish.fields)
        if lacking:
            raise Failure(
                f"permissions: the token lacks {', '.join(lacking)}",
                "ask for them in the login (the app needs Advanced Access for accounts that are not its own), log in "
                f"again, then {wish.again} --token prompt",
            )
        self._done("permissions", f"{len(granted)} granted, none is lacking")

    def _renewed(self, account: Account, owner: Owner, token: str, lasting: LastingToken | None, wish: Wish) -> Account:
        changes: dict[str, object] = {
            "username": owner.username or account.username,
            "app_scoped_id": owner.app_scoped_id or account.app_scoped_id,
        }
        if wish.igsid_field is not None:
            changes["manychat_igsid_field"] = wish.igsid_field
        if wish.manychat_key is not None:
            changes["manychat_api_key"] = self.sealer.seal(wish.manychat_key, account.account_id, "manychat_api_key")
        if self.stored and not self._is_stored(token, account):
            changes |= {
                "access_token": self.sealer.seal(token, account.account_id, "access_token"),
                "token_issued_at": self.now() if lasting is not None else None,
                "token_expires_at": self._ends(lasting) if lasting is not None else None,
            }
        return account.model_copy(update=changes)

    async def _stored(self, account: Account, wish: Wish) -> None:
        if not self.stored:
            self._done("store", f"not done: {ENVIRONMENT}")
            return
        if wish.dry_run:
            self._would("store", f"seal the token and keep it with merchant {wish.merchant_id}")
            return
        merchant = await self.store.find(wish.merchant_id)  # as it is now: the steps before took their time
        if merchant is None:
            raise Failure(f"store: merchant {wish.merchant_id} was removed meanwhile", "jawab merchants list")
        await self.store.replace(merchant.with_account(account))
        self._done("store", f"sealed and kept with merchant {wish.merchant_id}")

    async def _subscribed(self, token: str, account_id: str, wish: Wish) -> None:
        if wish.dry_run:
            heard = await self._step("verify", wish, self.graph.subscribed(token, account_id, app_id=self.app_id))
            new = [name for name in wish.fields if name not in heard]
            self._would("subscribe", f"hear of {', '.join(new)}" if new else "change nothing: all fields are heard of")
            return
        wanted = await self._step("subscribe", wish, self._subscribe(token, account_id, wish))
        self._done("subscribe", ", ".join(wanted))
        heard = await self._step("verify", wish, self.graph.subscribed(token, account_id, app_id=self.app_id))
        missing = sorted(NEEDED_FIELDS & set(wanted) - heard)
        if missing:
            raise Failure(
                f"verify: the platform took the subscription and tells nothing of {', '.join(missing)}",
                "see the webhooks in the app's dashboard (the app must be Live; comments need Advanced Access), "
                f"then {wish.again}",
            )
        self._done("verify", f"the platform tells the app {len(heard)} fields of this account")

    async def _subscribe(self, token: str, account_id: str, wish: Wish) -> Collection[str]:
        """Ask for all fields; their names drift, so where one is not known, ask for those that are needed."""
        try:
            await self.graph.subscribe(token, account_id, wish.fields)
        except GraphRefused as refusal:
            needed = [name for name in wish.fields if name in NEEDED_FIELDS]
            if refusal.reason != "not_accepted" or not needed or len(needed) == len(wish.fields):
                raise
            await self.graph.subscribe(token, account_id, needed)
            others = ", ".join(name for name in wish.fields if name not in NEEDED_FIELDS)
            self._warn("subscribe", f"not all of them is known there; without {others}: ask for single ones by --field")
            return needed
        return wish.fields

    async def _active(self, account_id: str, wish: Wish) -> None:
        if wish.dry_run:
            self._would("active", f"note account {account_id} as active")
            return
        known = (await self.standings.all([account_id]))[account_id]
        since = max(self.now(), known.since or datetime.min.replace(tzinfo=UTC))
        await self.standings.note(Standing(account_id, since=since))
        was = f", was {known.state.replace('_', ' ')}" if known.state != "active" else ""
        self._done("active", f"since {since:%Y-%m-%d %H:%M} UTC{was}")

    def _is_stored(self, token: str, account: Account) -> bool:
        try:
            return account.opened("access_token", self.sealer) == token
        except NotOpenable:
            return False

    def _ends(self, lasting: LastingToken) -> datetime:
        return self.now() + timedelta(seconds=lasting.expires_in)

    async def _step(self, step: Step, wish: Wish, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except GraphTrouble as trouble:
            raise _failed(step, trouble, wish) from None

    def _done(self, step: Step, said: str) -> None:
        self.tell(Told(step, "done", said))

    def _warn(self, step: Step, said: str) -> None:
        self.tell(Told(step, "warned", said))

    def _would(self, step: Step, said: str) -> None:
        self.tell(Told(step, "would", said))


def lacking_permissions(granted: Collection[str], fields: Collection[str]) -> list[str]:
    """Return the permissions that are lacking for these fields, by their names under Instagram Login."""
    parts = ["basic", *(("comments",) if OF_COMMENTS & set(fields) else ())]
    parts += ["messages"] if set(fields) - OF_COMMENTS else []
    return [PERMISSIONS[part][0] for part in sorted(parts) if not set(PERMISSIONS[part]) & set(granted)]


def _failed(step: Step, trouble: GraphTrouble, wish: Wish) -> Failure:
    if isinstance(trouble, GraphRefused):
        return Failure(f"{step}: {screen.plain(str(trouble))}", f"then {wish.again} --token prompt")
    return Failure(f"{step}: {trouble}", f"see INSTAGRAM_GRAPH_URL and the network; what was done stays: {wish.again}")
