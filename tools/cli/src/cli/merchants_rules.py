"""`jawab merchants rules`: what is answered without the model."""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cyclopts import App

from ai.rules import DEFAULT_RULES
from cli import screen
from cli.failures import Failure
from cli.merchant_store import unknown
from cli.merchants_known import EFFECT, find, opened_store
from cli.rules_file import NotRules, read_rules, write_rules
from common.merchants import Rule

rules_app = App(name="rules", help="Show, set and edit one merchant's rules.")


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
    merchant, _ = await find(id)
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
    await _store_rules(id, None if file is None else rules_of(file, merchant_id=id))


@rules_app.command(name="edit")
async def edit_rules(id: str) -> None:  # noqa: A002
    """Open a merchant's rules in $EDITOR; they are checked before they are stored.

    Parameters
    ----------
    id
        The merchant's id.
    """
    merchant, _ = await find(id)
    former = write_rules(merchant.rules if merchant.rules is not None else DEFAULT_RULES)
    edited = await asyncio.to_thread(edited_text, former, partial(_open_editor, merchant_id=id), merchant_id=id)
    if edited == former:
        screen.say("Nothing was changed.")
        return
    await _store_rules(id, read_rules(edited))


def edited_text(text: str, edit: Callable[[Path], None], *, merchant_id: str) -> str:
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
        then = f"your text is kept: mend it, then jawab merchants rules set {merchant_id} {path}"
        raise Failure(f"the rules were not stored: {error}", then) from None
    path.unlink()
    return edited


async def _store_rules(merchant_id: str, rules: tuple[Rule, ...] | None) -> None:
    async with opened_store() as store:
        merchant = await store.find(merchant_id)
        if merchant is None:
            raise unknown(merchant_id)
        await store.replace(merchant.model_copy(update={"rules": rules}))
    told = "the default rules apply" if rules is None else f"{len(rules)} rules stored"
    screen.say(f"{screen.OK} {merchant_id}: {told}. {EFFECT}")
    screen.following(f"jawab merchants rules show {merchant_id}", "jawab replay --dry-run --from '1h ago'")


def rules_of(file: Path, *, merchant_id: str) -> tuple[Rule, ...]:
    """Read a merchant's rules from a file. Raises Failure."""
    try:
        return read_rules(text_of(file))
    except NotRules as error:
        raise Failure(f"{file}: {error}", f"`jawab merchants rules show {merchant_id}` prints valid ones") from None


def text_of(file: Path) -> str:
    """Read a text file, or standard input for `-`. Raises Failure."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read ({type(error).__name__})") from None


def _open_editor(path: Path, *, merchant_id: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Failure("EDITOR is not set", f"set it, or use `jawab merchants rules set {merchant_id} FILE`")
    done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 the person's own editor
    if done.returncode != 0:
        raise Failure(f"{editor} ended with code {done.returncode}", "nothing was stored")
