"""`jawab merchants`: whose Instagram accounts are answered, with which keys, voice and rules.

Keys and tokens are read from the environment, a file or a prompt, sealed at once, and never shown.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import ValidationError
from rich.text import Text

from cli import screen
from cli.failures import Failure
from cli.merchant_store import MerchantStore, Unreadable, unknown
from cli.merchants_accounts import StandingsOf, accounts, connect, disconnect, standings_of, state_in_words
from cli.merchants_known import (
    EFFECT,
    Source,
    configured_sealer,
    environment_merchant,
    find,
    opened_database,
    opened_store,
    public_view,
    secret_state,
)
from cli.merchants_rules import rules_app, rules_of, text_of
from cli.secret_sources import can_ask, read_secret
from common.base_url import whole_url
from common.merchants import Merchant, RouteName
from common.sealing import SECRET_FIELDS, NotOpenable, Sealer, SecretField
from common.wrong_input import Place, problems

OPTIONS = {
    "id": "ID",
    "account_id": "--account",
    "manychat_igsid_field": "--igsid-field",
    "routes": "--route",
    "tool_apps": "--tool-app",
}
"""What a merchant's fields are called on the command line, where that is not their own name."""

app = App(name="merchants", help="Add, change, connect and list merchants, their accounts and their rules.")
app.command(rules_app)
for command in (connect, disconnect, accounts):
    app.command(command)

SecretSource = Annotated[str | None, Parameter(show_default=False)]


@app.command
async def add(
    id: str,  # noqa: A002 what the merchant is called everywhere
    *,
    name: str | None = None,
    account: str | None = None,
    access_token: SecretSource = None,
    manychat_key: SecretSource = None,
    igsid_field: int | None = None,
    route: tuple[RouteName, ...] | None = None,
    persona: str | None = None,
    facts: Path | None = None,
    price_link: str | None = None,
    operator_webhook: str | None = None,
    turn_pause: float | None = None,
    human_agent: Annotated[bool | None, Parameter(negative="--no-human-agent")] = None,
    quiet_hours: float | None = None,
    other_apps: Literal["person", "ignore"] | None = None,
    tool_app: tuple[str, ...] | None = None,
    rules: Path | None = None,
    update: bool = False,
    json: bool = False,
) -> None:
    """Add a merchant, or with --update change what is given of one.

    What is needed and not given is asked for, when somebody sits at the terminal.

    Parameters
    ----------
    id
        A short name in small letters, digits, - and _; it appears in URLs and tokens.
    name
        The shop's name, as customers read it.
    account
        The Instagram professional account's id (entry.id of its webhooks).
    access_token
        Where to read the Instagram token from: env:NAME, file:PATH, prompt or none.
    manychat_key
        Where to read the ManyChat key from: env:NAME, file:PATH, prompt or none.
    igsid_field
        The ManyChat custom field that holds a subscriber's Instagram-scoped id.
    route
        manychat or graph, in the order they are tried; may be given twice.
    persona
        Who answers, in a few words.
    facts
        A text file with what the model may say about the shop.
    price_link
        What {price_link} in a rule's reply stands for.
    operator_webhook
        Where people are told that they are needed.
    turn_pause
        Seconds of silence (0 to 60) after which a customer who writes several messages is answered; 0 answers at once.
    human_agent
        Meta has given the app the Human Agent feature: people may answer for 7 days.
    quiet_hours
        For how long Jawab is silent after a person answered a customer, or took over.
    other_apps
        Whether what another app sends from the account is a person's answer (person) or nobody's (ignore).
    tool_app
        The Meta app id of a tool whose messages are nobody's answer, such as a broadcast tool; may be given again.
    rules
        A YAML or JSON file with the rules; without it the default rules apply.
    update
        Change an existing merchant; what is not given stays.
    json
        Print JSON.
    """
    sealer = configured_sealer()
    given: dict[str, Any] = {
        "name": name,
        "account_id": account,
        "manychat_igsid_field": igsid_field,
        "routes": route,
        "persona": persona,
        "facts": None if facts is None else text_of(facts),
        "price_link": price_link,
        "operator_webhook": None if operator_webhook is None else _address(operator_webhook),
        "turn_pause": turn_pause,
        "human_agent": human_agent,
        "quiet_hours": quiet_hours,
        "other_apps": other_apps,
        "tool_apps": tool_app,
        "rules": None if rules is None else rules_of(rules, merchant_id=id),
    }
    changes = {field: value for field, value in given.items() if value is not None}
    async with opened_store() as store:
        former = await store.find(id) if update and not _complete(changes) else None
        if update and former is None and not await store.stored(id):
            raise unknown(id)
        if not update and await store.stored(id):
            raise Failure(f"there is a merchant {id} already", f"change it: jawab merchants add {id} --update …")
        if former is None:
            _ask_for_missing(changes)
        asking = former is None and not update
        secrets: dict[SecretField, tuple[bool, str | None]] = {
            "access_token": _secret(access_token, "--access-token", "Instagram access token", asking=asking),
            "manychat_api_key": _secret(manychat_key, "--manychat-key", "ManyChat API key", asking=asking),
        }
        changes |= _sealed(secrets, former, str(changes.get("account_id", former.account_id if former else "")), sealer)
        changes = {**_forgotten(former, changes), **changes}
        merchant = _validated({**(former.model_dump() if former else {}), **changes, "id": id})
        with screen.working(f"Storing merchant {id}"):
            await (store.replace(merchant) if update else store.add(merchant))
    if json:
        screen.as_json(public_view(merchant, sealer))
        return
    screen.say(f"{screen.OK} merchant {id} {'changed' if update else 'added'}. {EFFECT}")
    if merchant.manychat_api_key is not None and merchant.manychat_igsid_field is None:
        screen.say(
            f"{screen.WARN} without --igsid-field nobody can be found in ManyChat: its key is not used until you give "
            "the number of the custom field that holds a subscriber's Instagram-scoped id",
            style="yellow",
        )
    if merchant.price_link == Merchant.model_fields["price_link"].default:
        screen.say(
            f"{screen.WARN} customers who ask for a price are sent to {merchant.price_link}: give your own with "
            f"jawab merchants add {id} --update --price-link https://…",
            style="yellow",
        )
    own = environment_merchant()
    if own is not None and own.id != id and own.account_id in {one.account_id for one in merchant.accounts}:
        screen.say(
            f"{screen.WARN} the environment's merchant {own.id} has this account, too: {id} answers for it now, "
            f"with its own keys and rules",
            style="yellow",
        )
    screen.following(f"jawab merchants connect {id}", f"jawab simulate dm --account {merchant.account_id}")


@app.command(name="list")
async def list_merchants(*, json: bool = False) -> None:
    """List merchants, the environment's own among them.

    Parameters
    ----------
    json
        Print JSON.
    """
    sealer, own = configured_sealer(), environment_merchant()
    async with opened_database() as db:
        with screen.working("Reading merchants"):
            stored = await MerchantStore(db).all()
            valid = [merchant for merchant in stored if isinstance(merchant, Merchant)]
            taken = {account.account_id for merchant in valid for account in merchant.accounts}
            if own is not None and (own.account_id in taken or any(own.id == merchant.id for merchant in stored)):
                own = None  # the database wins
            known = await standings_of(db, [*valid, *([own] if own else [])])
    if json:
        views = [
            {"id": m.id, "not_valid": m.reason} if isinstance(m, Unreadable) else _listed(m, sealer, "database", known)
            for m in stored
        ]
        screen.as_json(views + ([_listed(own, sealer, "environment", known)] if own else []))
        return
    shown = screen.table("id", "name", "account", "state", "routes", "Instagram token", "ManyChat key", "rules", "from")
    for merchant in stored:
        if isinstance(merchant, Unreadable):
            screen.row(shown, [merchant.id, Text("not valid", style="red"), *[""] * 6, "database"])
            continue
        for row in _rows(merchant, sealer, "database", known):
            screen.row(shown, row)
    for row in _rows(own, sealer, "environment", known) if own is not None else ():
        screen.row(shown, row)
    screen.console().print(shown)
    for merchant in stored:
        if isinstance(merchant, Unreadable):
            screen.say(f"{screen.BAD} {merchant.id} is not valid: {screen.plain(merchant.reason)}", style="red")
    if not stored and own is None:
        screen.say("There is no merchant: nobody is answered.")
    screen.following("jawab merchants accounts", "jawab merchants add ID --name … --account …")


@app.command
async def show(id: str, *, json: bool = False) -> None:  # noqa: A002
    """Show one merchant; of its keys only whether they are set and can be opened.

    Parameters
    ----------
    id
        The merchant's id.
    json
        Print JSON.
    """
    sealer = configured_sealer()
    merchant, source = await find(id)
    view = public_view(merchant, sealer, source=source)
    if json:
        screen.as_json(view)
        return
    shown = screen.table("", "")
    shown.show_header = False
    for field, value in view.items():
        if field == "other_accounts":
            value = [account["account_id"] for account in value]  # noqa: PLW2901 their facts are `accounts`' to show
        told = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
        screen.row(shown, [field.replace("_", " "), screen.words(told)])
    screen.console().print(shown)
    if any(view[field] == "set, cannot be opened" for field in SECRET_FIELDS):
        screen.say(
            f"{screen.WARN} a key was sealed with another ENCRYPTION_KEY: put that one behind the new one, separated "
            "by a comma, or enter the key again",
            style="yellow",
        )
    screen.following(f"jawab merchants accounts {id}", f"jawab merchants rules show {id}")


@app.command
async def remove(id: str, *, yes: bool = False) -> None:  # noqa: A002
    """Forget a merchant: its account is no longer answered. Conversations and deliveries stay.

    Parameters
    ----------
    id
        The merchant's id.
    yes
        Do not ask.
    """
    if not yes:
        if not can_ask():
            raise Failure(f"removing {id} cannot be undone", "say --yes")
        question = f"Type {id} to forget this merchant, its keys and its rules: "
        if (await asyncio.to_thread(input, question)).strip() != id:
            raise Failure("nothing was removed")
    async with opened_store() as store:
        await store.remove(id)
    screen.say(f"{screen.OK} merchant {id} removed. {EFFECT}")
    screen.following("jawab merchants list")


def _listed(merchant: Merchant, sealer: Sealer, source: Source, known: StandingsOf) -> dict[str, Any]:
    view = public_view(merchant, sealer, source=source)
    return {**view, "states": {one.account_id: known[one.account_id].state for one in merchant.accounts}}


def _rows(merchant: Merchant, sealer: Sealer, source: Source, known: StandingsOf) -> list[list[str | Text]]:
    rules = "default" if merchant.rules is None else str(len(merchant.rules))
    rows: list[list[str | Text]] = []
    for account in merchant.accounts:
        token, key = (secret_state(account, field, sealer) for field in SECRET_FIELDS)
        state = state_in_words(known[account.account_id])
        first: list[str | Text] = ["", ""] if rows else [merchant.id, screen.words(merchant.name)]
        last = ["", source] if rows else [rules, source]
        routes = "" if rows else ", ".join(merchant.routes)
        rows.append([*first, account.account_id, state, routes, token, key, *last])
    return rows


def _forgotten(former: Merchant | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Return what is no longer known: another account's or another token's facts must not stay."""
    of_token = {"token_issued_at": None, "token_expires_at": None}
    if former is not None and changes.get("account_id", former.account_id) != former.account_id:
        return {"username": "", "app_scoped_id": None, **of_token}
    return of_token if "access_token" in changes else {}


def _complete(changes: dict[str, Any]) -> bool:
    """Whether the options alone describe a merchant, so that a stored one that is not valid can be written anew."""
    return {"name", "account_id", "routes", "rules"} <= changes.keys()


def _ask_for_missing(changes: dict[str, Any]) -> None:
    questions = {"name": ("--name", "The shop's name: "), "account_id": ("--account", "The Instagram account's id: ")}
    for field, (option, question) in questions.items():
        if field not in changes:
            if not can_ask():
                raise Failure(f"{option} is needed", "give it, or run this at a terminal to be asked")
            changes[field] = input(question).strip()


def _secret(source: str | None, option: str, asked_as: str, *, asking: bool) -> tuple[bool, str | None]:
    """Return whether a secret was given, and it. Nothing said means: ask for a new merchant's, keep an old one's."""
    if source is None:
        if not (asking and can_ask()):
            return False, None
        source = "prompt"
    return True, read_secret(source, option=option, asked_as=asked_as)


def _sealed(
    secrets: dict[SecretField, tuple[bool, str | None]], former: Merchant | None, account_id: str, sealer: Sealer
) -> dict[str, str | None]:
    """Return the secrets to store: what is given, and where the id of the account is corrected what is kept."""
    changes: dict[str, str | None] = {}
    for field, (is_given, value) in secrets.items():
        kept = value
        if not is_given:
            if former is None or account_id == former.account_id:
                continue
            try:
                kept = former.opened(field, sealer)
            except NotOpenable as error:
                raise Failure(f"the {field} of account {former.account_id}: {error}") from None
        changes[field] = sealer.seal(kept, account_id, field) if kept else None
    return changes


def _address(operator_webhook: str) -> str:
    # Not a rule of Merchant: one that is stored already has to stay readable, and its customers answered.
    try:
        return whole_url(operator_webhook)
    except ValueError as error:
        raise Failure(f"--operator-webhook {error}", "`jawab merchants add --help` explains each option") from None


def _validated(data: dict[str, Any]) -> Merchant:
    try:
        return Merchant.model_validate(data)
    except ValidationError as error:
        told = "; ".join(problem.sentence(_option) for problem in problems(error))
        raise Failure(told, "`jawab merchants add --help` explains each option") from None


def _option(place: Place) -> str:
    """Name the option that a merchant's field is given by."""
    field = str(place[0]) if place else ""
    return OPTIONS.get(field, f"--{field.replace('_', '-')}" if field else "")
