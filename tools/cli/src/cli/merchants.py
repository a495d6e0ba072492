"""`jawab merchants`: whose Instagram accounts are answered, with which keys, voice and rules.

Keys and tokens are read from the environment, a file or a prompt, sealed at once, and never shown.
"""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import ValidationError
from rich.text import Text

from ai.rules import DEFAULT_RULES
from cli import screen
from cli.environment import settings
from cli.failures import Failure
from cli.merchant_store import MerchantStore, Unreadable, unknown
from cli.rules_file import NotRules, read_rules, write_rules
from cli.secret_sources import can_ask, read_secret
from common.merchant_directory import merchant_from_environment
from common.merchants import Merchant, RouteName, Rule
from common.mongo import database, mongo_client
from common.sealing import NotOpenable, Sealer
from common.service import misconfiguration
from common.settings import MerchantSettings, MongoSettings, SealingSettings

app = App(name="merchants", help="Add, change and list merchants and their rules.")
rules_app = App(name="rules", help="Show, set and edit one merchant's rules.")
app.command(rules_app)

SECRET_FIELDS = ("access_token", "manychat_api_key")
SecretState = Literal["not set", "set", "set, cannot be opened"]
Source = Annotated[str | None, Parameter(show_default=False)]

EFFECT = "Running services take it up within 5 seconds."


@app.command
async def add(
    id: str,  # noqa: A002 what the merchant is called everywhere
    *,
    name: str | None = None,
    account: str | None = None,
    access_token: Source = None,
    manychat_key: Source = None,
    igsid_field: int | None = None,
    route: tuple[RouteName, ...] | None = None,
    persona: str | None = None,
    facts: Path | None = None,
    price_link: str | None = None,
    operator_webhook: str | None = None,
    turn_pause: float | None = None,
    rules: Path | None = None,
    connected: Annotated[bool | None, Parameter(negative="--disconnected")] = None,
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
    rules
        A YAML or JSON file with the rules; without it the default rules apply.
    connected
        --disconnected stops answering this account, --connected starts again.
    update
        Change an existing merchant; what is not given stays.
    json
        Print JSON.
    """
    sealer = _sealer()
    given: dict[str, Any] = {
        "name": name,
        "account_id": account,
        "manychat_igsid_field": igsid_field,
        "routes": route,
        "persona": persona,
        "facts": None if facts is None else _text_of(facts),
        "price_link": price_link,
        "operator_webhook": operator_webhook,
        "turn_pause": turn_pause,
        "rules": None if rules is None else _rules_of(rules),
        "connected": connected,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    async with _store() as store:
        former = await store.find(id) if update and not _complete(changes) else None
        if update and former is None and not await store.stored(id):
            raise unknown(id)
        if not update and await store.stored(id):
            raise Failure(f"there is a merchant {id} already", f"change it: jawab merchants add {id} --update …")
        if former is None:
            _ask_for_missing(changes)
        asking = former is None and not update
        secrets = {
            "access_token": _secret(access_token, "--access-token", "Instagram access token", asking=asking),
            "manychat_api_key": _secret(manychat_key, "--manychat-key", "ManyChat API key", asking=asking),
        }
        for field, (is_given, value) in secrets.items():
            if is_given:
                changes[field] = sealer.seal(value) if value else None
        merchant = _validated({**(former.model_dump() if former else {}), **changes, "id": id})
        with screen.working(f"Storing merchant {id}"):
            await (store.replace(merchant) if update else store.add(merchant))
    if json:
        screen.as_json(public_view(merchant, sealer))
        return
    screen.say(f"{screen.OK} merchant {id} {'changed' if update else 'added'}. {EFFECT}")
    screen.following(f"jawab merchants show {id}", f"jawab simulate dm --account {merchant.account_id}")


@app.command(name="list")
async def list_merchants(*, json: bool = False) -> None:
    """List merchants, the environment's own among them.

    Parameters
    ----------
    json
        Print JSON.
    """
    sealer, own = _sealer(), _environment_merchant()
    async with _store() as store:
        with screen.working("Reading merchants"):
            stored = await store.all()
    taken = {merchant.account_id for merchant in stored if isinstance(merchant, Merchant)}
    ids = {merchant.id for merchant in stored}
    if own is not None and (own.account_id in taken or own.id in ids):
        own = None  # the database wins
    if json:
        views = [
            {"id": m.id, "not_valid": m.reason} if isinstance(m, Unreadable) else public_view(m, sealer) for m in stored
        ]
        screen.as_json(views + ([public_view(own, sealer, source="environment")] if own else []))
        return
    shown = screen.table("id", "name", "account", "routes", "Instagram token", "ManyChat key", "rules", "from")
    for merchant in stored:
        if isinstance(merchant, Unreadable):
            wrong = Text(f"not valid {merchant.reason}", style="red")
            screen.row(shown, [merchant.id, wrong, *[""] * 5, "database"])
        else:
            screen.row(shown, _row(merchant, sealer, "database"))
    if own is not None:
        screen.row(shown, _row(own, sealer, "environment"))
    screen.console().print(shown)
    if not stored and own is None:
        screen.say("There is no merchant: nobody is answered.")
    screen.following("jawab merchants add ID --name … --account …")


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
    sealer = _sealer()
    merchant, source = await _find(id)
    view = public_view(merchant, sealer, source=source)
    if json:
        screen.as_json(view)
        return
    shown = screen.table("", "")
    shown.show_header = False
    for field, value in view.items():
        told = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
        screen.row(shown, [field.replace("_", " "), screen.words(told)])
    screen.console().print(shown)
    if any(view[field] == "set, cannot be opened" for field in SECRET_FIELDS):
        screen.say(
            f"{screen.WARN} a key was sealed with another ENCRYPTION_KEY: put that one behind the new one, separated "
            "by a comma, or enter the key again",
            style="yellow",
        )
    screen.following(f"jawab merchants rules show {id}")


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
    async with _store() as store:
        await store.remove(id)
    screen.say(f"{screen.OK} merchant {id} removed. {EFFECT}")
    screen.following("jawab merchants list")


@rules_app.command(name="show")
async def show_rules(id: str, *, json: bool = False) -> None:  # noqa: A002
    """Print the rules that apply to a merchant, as `rules set` reads them.

    Parameters
    ----------
    id
        The merchant's id.
    json
        Print JSON instead of YAML.
    """
    merchant, _ = await _find(id)
    rules = merchant.rules if merchant.rules is not None else DEFAULT_RULES
    if json:
        screen.as_json([rule.model_dump(mode="json", exclude_defaults=True) for rule in rules])
        return
    screen.note("the default rules" if merchant.rules is None else f"{len(rules)} rules of {id}'s own")
    sys.stdout.write(write_rules(rules))


@rules_app.command(name="set")
async def set_rules(id: str, file: Path | None = None, *, default: bool = False) -> None:  # noqa: A002
    """Replace a merchant's rules by those of a file, or by the default ones.

    Parameters
    ----------
    id
        The merchant's id.
    file
        YAML or JSON; `-` reads standard input.
    default
        Go back to the default rules.
    """
    if (file is None) is not default:
        raise Failure("say either which file holds the rules, or --default")
    await _store_rules(id, None if file is None else _rules_of(file))


@rules_app.command(name="edit")
async def edit_rules(id: str) -> None:  # noqa: A002
    """Open a merchant's rules in $EDITOR; they are checked before they are stored.

    Parameters
    ----------
    id
        The merchant's id.
    """
    merchant, _ = await _find(id)
    former = write_rules(merchant.rules if merchant.rules is not None else DEFAULT_RULES)
    edited = await asyncio.to_thread(edited_text, former, _open_editor)
    if edited == former:
        screen.say("Nothing was changed.")
        return
    await _store_rules(id, _parsed(edited, "the edited text"))


def edited_text(text: str, edit: Callable[[Path], None]) -> str:
    """Let `edit` work on a file holding `text`; a text that is not valid rules is kept where it can be mended."""
    descriptor, name = tempfile.mkstemp(prefix="jawab-rules-", suffix=".yaml")
    path = Path(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    edit(path)
    edited = path.read_text(encoding="utf-8")
    try:
        read_rules(edited)
    except NotRules as error:
        raise Failure(f"the rules were not stored: {error}", f"your text is kept in {path}") from None
    path.unlink()
    return edited


def public_view(merchant: Merchant, sealer: Sealer, *, source: str = "database") -> dict[str, Any]:
    """Return everything about a merchant but its secrets."""
    view = merchant.model_dump(mode="json", exclude={*SECRET_FIELDS, "rules"})
    for field in SECRET_FIELDS:
        view[field] = secret_state(getattr(merchant, field), sealer)
    view["rules"] = "default" if merchant.rules is None else [rule.name for rule in merchant.rules]
    return {**view, "source": source}


def secret_state(sealed: str | None, sealer: Sealer) -> SecretState:
    """Say whether a secret is there and can be used."""
    if sealed is None:
        return "not set"
    try:
        sealer.open(sealed)
    except NotOpenable:
        return "set, cannot be opened"
    return "set"


def _row(merchant: Merchant, sealer: Sealer, source: str) -> list[str | Text]:
    token, key = (secret_state(getattr(merchant, field), sealer) for field in SECRET_FIELDS)
    rules = "default" if merchant.rules is None else str(len(merchant.rules))
    state = "" if merchant.connected else " (disconnected)"
    routes = ", ".join(merchant.routes)
    return [merchant.id, screen.words(merchant.name), merchant.account_id + state, routes, token, key, rules, source]


async def _find(merchant_id: str) -> tuple[Merchant, str]:
    async with _store() as store:
        found = await store.find(merchant_id)
    if found is not None:
        return found, "database"
    own = _environment_merchant()
    if own is not None and own.id == merchant_id:
        return own, "environment"
    raise unknown(merchant_id)


async def _store_rules(merchant_id: str, rules: tuple[Rule, ...] | None) -> None:
    async with _store() as store:
        merchant = await store.find(merchant_id)
        if merchant is None:
            raise unknown(merchant_id)
        await store.replace(merchant.model_copy(update={"rules": rules}))
    told = "the default rules apply" if rules is None else f"{len(rules)} rules stored"
    screen.say(f"{screen.OK} {merchant_id}: {told}. {EFFECT}")
    screen.following(f"jawab merchants rules show {merchant_id}", "jawab replay --dry-run --from '1h ago'")


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


def _validated(data: dict[str, Any]) -> Merchant:
    try:
        return Merchant.model_validate(data)
    except ValidationError as error:
        raise Failure(misconfiguration(error).removesuffix(" (.env.example explains every variable)")) from None


def _rules_of(file: Path) -> tuple[Rule, ...]:
    return _parsed(_text_of(file), str(file))


def _parsed(text: str, place: str) -> tuple[Rule, ...]:
    try:
        return read_rules(text)
    except NotRules as error:
        raise Failure(f"{place}: {error}", "`jawab merchants rules show default` prints valid ones") from None


def _text_of(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read ({type(error).__name__})") from None


def _open_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Failure("EDITOR is not set", "set it, or use `jawab merchants rules show` and `rules set`")
    done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 the person's own editor
    if done.returncode != 0:
        raise Failure(f"{editor} ended with code {done.returncode}", "nothing was stored")


def _sealer() -> Sealer:
    return Sealer([key.get_secret_value() for key in settings(SealingSettings).encryption_keys])


def _environment_merchant() -> Merchant | None:
    return merchant_from_environment(settings(MerchantSettings), _sealer())


@asynccontextmanager
async def _store() -> AsyncIterator[MerchantStore]:
    async with mongo_client(settings(MongoSettings), service="cli") as client:
        yield MerchantStore(database(client))
