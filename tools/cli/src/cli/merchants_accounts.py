"""`jawab merchants connect`, `disconnect` and `accounts`: the Instagram accounts of merchants and how each stands."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from cli import screen
from cli.checks.accounts import BY_OPERATOR, NEVER_CHECKED, SOON, connecting_command, never_checked
from cli.checks.providers import Providers
from cli.connecting import FIELDS, Connecting, Told, Wish
from cli.environment import settings
from cli.failures import Failure
from cli.merchant_store import MerchantStore
from cli.merchants_known import configured_sealer, environment_merchant, find, opened_database
from cli.moments import in_words
from cli.outside_client import outside_client
from cli.secret_sources import can_ask, read_secret
from common.accounts import MongoStandings, Standing
from common.graph_accounts import GraphAccounts, GraphTrouble
from common.merchants import Account, Merchant
from common.mongo import Database
from common.remedies import completed
from common.sealing import NotOpenable, Sealer

CALL_SECONDS = 15.0
MARKS = {"done": (screen.OK, "green"), "warned": (screen.WARN, "yellow"), "would": ("·", "dim")}

SecretSource = Annotated[str | None, Parameter(show_default=False)]
StandingsOf = Mapping[str, Standing]


async def connect(
    id: str,  # noqa: A002 what the merchant is called everywhere
    *,
    account: str | None = None,
    token: SecretSource = None,
    manychat_key: SecretSource = None,
    igsid_field: int | None = None,
    field: tuple[str, ...] | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Connect an Instagram account of a merchant: check its token, keep it, and let the platform tell of it.

    Each step is told as it is done; doing it again does no harm. docs/connecting.md says where the token comes from.

    Parameters
    ----------
    id
        The merchant, made with `jawab merchants add`.
    account
        The account's id; needed to add an account to a merchant that has others.
    token
        Where to read the token from: env:NAME, file:PATH, stdin or prompt. Without it: it is asked for, and the one
        that is stored is checked where nothing is typed.
    manychat_key
        Where to read this account's ManyChat key from: env:NAME, file:PATH, stdin or prompt.
    igsid_field
        The custom field of this account's ManyChat that holds a subscriber's Instagram-scoped id.
    field
        A webhook field to hear of, in place of all that Jawab understands; may be given several times.
    dry_run
        Ask the platform, and change nothing there or here.
    json
        Print JSON.
    """
    merchant, source = await find(id)
    if source == "environment" and (token is not None or manychat_key is not None or igsid_field is not None):
        raise Failure(
            f"merchant {id} is configured by the environment",
            f"set INSTAGRAM_ACCESS_TOKEN and MANYCHAT_API_KEY, or keep it in the database: jawab merchants add {id}",
        )
    sealer = configured_sealer()
    key = manychat_key and read_secret(manychat_key, option="--manychat-key", asked_as="ManyChat API key")
    wish = Wish(id, account, _token(token, source), field or FIELDS, key or None, igsid_field, dry_run)
    told: list[Told] = []

    def tell(one: Told) -> None:
        told.append(one)
        if not json:
            mark, style = MARKS[one.mark]
            would = "would " if one.mark == "would" else ""
            screen.say(Text.assemble((mark, style), f" {one.step + ':':<13}{would}{screen.plain(one.said)}"))

    async with opened_database() as db, outside_client(CALL_SECONDS) as client:
        platform = settings(Providers)
        connecting = Connecting(
            GraphAccounts(client, platform.graph_url, timeout=CALL_SECONDS, app_secret=platform.app_secret),
            MerchantStore(db),
            MongoStandings(db),
            sealer,
            tell,
            stored=source == "database",
            exchanges=platform.app_secret is not None,
            app_id=platform.app_id,
        )
        connected = await connecting.connect(merchant, wish)
        standing = (await MongoStandings(db).all([connected.account_id]))[connected.account_id]
    if json:
        steps = [vars(one) for one in told]
        screen.as_json({**_view(id, connected, standing), "dry_run": dry_run, "steps": steps})
        return
    if dry_run:
        screen.say("Nothing was changed.")
        screen.following(wish.again)
    else:
        screen.following("jawab doctor --only providers", f"jawab simulate dm --account {connected.account_id}")


async def disconnect(
    id: str,  # noqa: A002
    *,
    account: str | None = None,
    forget: bool = False,
    yes: bool = False,
) -> None:
    """Stop answering an account: the platform tells nothing of it any more, and nothing is sent for it.

    Parameters
    ----------
    id
        The merchant.
    account
        Which of its accounts; its main one when not given.
    forget
        Also remove the account and its keys from the merchant; its main account cannot be removed.
    yes
        Do not ask.
    """
    merchant, source = await find(id)
    seen = merchant.seen_by(account or merchant.account_id)
    if seen is None:
        raise Failure(f"merchant {id} has no account {account}", f"jawab merchants accounts {id}")
    if forget and (seen.account_id == merchant.account_id or source == "environment"):
        raise Failure(
            f"{seen.account_id} is the main account of {id}",
            f"without --forget it is only disconnected; `jawab merchants remove {id}` forgets the merchant",
        )
    if not yes:
        if not can_ask():
            raise Failure(f"nobody will be answered on account {seen.account_id}", "say --yes")
        question = f"Type {seen.account_id} to stop answering it: "
        if (await asyncio.to_thread(input, question)).strip() != seen.account_id:
            raise Failure("nothing was changed")
    async with opened_database() as db:
        await _unsubscribe(seen)
        standings = MongoStandings(db)
        known = (await standings.all([seen.account_id]))[seen.account_id]
        since = max(datetime.now(UTC), known.since or datetime.min.replace(tzinfo=UTC))
        detail = f"jawab merchants connect {id} --account {seen.account_id}"
        await standings.note(Standing(seen.account_id, "disconnected", BY_OPERATOR, detail, since=since))
        screen.say(f"{screen.OK} account {seen.account_id} is disconnected: nobody is answered there.")
        if forget:
            store = MerchantStore(db)
            current = await store.find(id) or merchant
            others = tuple(one for one in current.other_accounts if one.account_id != seen.account_id)
            await store.replace(current.model_copy(update={"other_accounts": others}))
            screen.say(f"{screen.OK} merchant {id} has forgotten it and its keys.")
    screen.following(f"jawab merchants accounts {id}")


async def accounts(id: str | None = None, *, json: bool = False) -> None:  # noqa: A002
    """Show each Instagram account: how it stands, since when, why, and how long its token lasts.

    Parameters
    ----------
    id
        Only this merchant's.
    json
        Print JSON.
    """
    async with opened_database() as db:
        if id is None:
            stored = [one for one in await MerchantStore(db).all() if isinstance(one, Merchant)]
            own = environment_merchant()
            taken = {account.account_id for merchant in stored for account in merchant.accounts}
            merchants = stored + ([own] if own is not None and own.account_id not in taken else [])
        else:
            merchants = [(await find(id))[0]]
        known = await standings_of(db, merchants)
    listed = [(merchant, account) for merchant in merchants for account in merchant.accounts]
    if json:
        screen.as_json([_view(merchant.id, account, known[account.account_id]) for merchant, account in listed])
        return
    now = datetime.now(UTC)
    shown = screen.table("merchant", "account", "state", "token ends")
    for merchant, account in listed:
        standing = known[account.account_id]
        name = f"\n@{account.username}" if account.username else ""
        since = f"\nsince {standing.since:%Y-%m-%d %H:%M}" if standing.since is not None else ""
        state = state_in_words(standing, now).replace(" until", "\nuntil") + since
        screen.row(shown, [merchant.id, account.account_id + name, state, token_end(account, now).replace(", ", "\n")])
    screen.console().print(shown)
    for merchant, account in listed:
        standing = known[account.account_id]
        detail = completed(standing.detail, merchant_id=merchant.id, account_id=account.account_id)
        if why := ": ".join(filter(None, (standing.reason, detail))):
            screen.say(f"{screen.WARN} {account.account_id}: {screen.plain(why)}", style="yellow")
    wanting = [(m, one) for m, one in listed if not known[one.account_id].works(now)]
    wanting += [(m, one) for m, one in listed if never_checked(known[one.account_id])]
    if wanting:
        screen.following(connecting_command(*wanting[0]))
    elif listed:
        screen.following("jawab doctor --only merchants")
    else:
        screen.following("jawab merchants add ID --name … --account …")


async def standings_of(db: Database, merchants: Sequence[Merchant]) -> StandingsOf:
    """Return how each account of these merchants stands. Raises PyMongoError."""
    return await MongoStandings(db).all([one.account_id for merchant in merchants for one in merchant.accounts])


def state_in_words(standing: Standing, now: datetime | None = None) -> str:
    """Say a state as people read it; that of an account nobody ever asked the platform about is only assumed."""
    if never_checked(standing):
        return f"active ({NEVER_CHECKED})"
    state = standing.state_at(now or datetime.now(UTC))
    until = f" until {standing.until:%Y-%m-%d %H:%M}" if standing.until is not None and state == standing.state else ""
    return state.replace("_", " ") + until


def token_end(account: Account, now: datetime) -> str:
    """Say when an account's token ends."""
    if account.access_token is None:
        return "no token"
    if account.token_expires_at is None:
        return "not known"
    left = account.token_expires_at - now
    if left.total_seconds() <= 0:
        return f"ended on {account.token_expires_at:%Y-%m-%d}"
    return f"{account.token_expires_at:%Y-%m-%d}" + (f", in {in_words(left)}" if left < SOON else "")


def _view(merchant_id: str, account: Account, standing: Standing) -> dict[str, Any]:
    return {
        "merchant": merchant_id,
        "account": account.account_id,
        "username": account.username,
        "state": standing.state_at(datetime.now(UTC)),
        "checked": not never_checked(standing),
        "reason": standing.reason,
        "detail": standing.detail,
        "since": standing.since.isoformat() if standing.since else None,
        "until": standing.until.isoformat() if standing.until else None,
        "token": "set" if account.access_token else "not set",
        "token_expires_at": account.token_expires_at.isoformat() if account.token_expires_at else None,
    }


def _token(source: str | None, where: str) -> str | None:
    """Read the token; None where the stored one is meant."""
    if source is not None:
        given = read_secret(source, option="--token", asked_as="Instagram access token")
        if given is None:
            raise Failure("--token: nothing was read", "leave the option out to check the token that is stored")
        return given
    if where == "environment" or not can_ask():
        return None
    return read_secret("prompt", option="--token", asked_as="Instagram access token, or the stored one")


async def _unsubscribe(seen: Merchant) -> None:
    """Ask the platform to tell nothing any more; an account whose token is gone tells nothing anyway."""
    token = _opened(seen, configured_sealer())
    if token is None:
        screen.note("the platform was not told: there is no token that can be opened")
        return
    async with outside_client(CALL_SECONDS) as client:
        platform = settings(Providers)
        graph = GraphAccounts(client, platform.graph_url, timeout=CALL_SECONDS, app_secret=platform.app_secret)
        try:
            await graph.unsubscribe(token, seen.account_id)
        except GraphTrouble as trouble:
            screen.note(f"the platform was not told: {trouble}")
        else:
            screen.say(f"{screen.OK} the platform tells nothing of account {seen.account_id} any more")


def _opened(account: Account, sealer: Sealer) -> str | None:
    try:
        return account.opened("access_token", sealer)
    except NotOpenable:
        return None
