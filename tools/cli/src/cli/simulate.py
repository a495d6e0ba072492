"""`jawab simulate`: act as a customer, through the same signed webhook that Instagram would send."""

import asyncio
import json as json_format
import re
import secrets
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx2
from cyclopts import Parameter
from cyclopts.types import PositiveInt
from rich.text import Text

from cli import screen
from cli.environment import SIGNING_NAMES, first_of, needed
from cli.failures import Failure, Misconfigured
from cli.incoming import USUAL_CUSTOMER, Kind, Webhook, Wishes, raw_webhook, webhook
from cli.moments import in_words, parse_duration
from cli.sandbox import Answer, Sandbox
from devkit.ids import DEFAULT_ACCOUNT_ID
from devkit.simulator import Simulator

POST_TIMEOUT = 15.0
ACCOUNT_NAMES = ("INSTAGRAM_PAGE_ID",)
INSTAGRAM_ID = re.compile(r"[0-9]{1,32}")


@dataclass(frozen=True)
class Posted:
    """One answer of the webhook."""

    status: int
    milliseconds: float
    said: str


async def simulate(
    kind: Kind,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    text: str = "",
    sender: Annotated[str, Parameter(name="--from")] = USUAL_CUSTOMER,
    account: str | None = None,
    mid: str = "",
    parent: str = "",
    payload: str = "",
    emoji: str = "❤",
    attachment: str = "image",
    duplicate: PositiveInt = 1,
    wait: bool = False,
    patience: str = "30s",
    url: str = "http://localhost:8000/webhooks/instagram",
    sandbox: str = "http://127.0.0.1:8090",
    secret: str | None = None,
    show: bool = False,
    json: bool = False,
) -> int:
    """Act as a customer: send a signed webhook and say what became of it.

    Exits 1 when the webhook was not answered as it should be (200; 401 for a forged one), or when
    --wait got no reply in time.

    Parameters
    ----------
    kind
        What the customer does. batch is several people at once, forged is signed with a wrong secret,
        raw posts the bytes of FILE, signed.
    file
        For raw: the body to post; - reads standard input.
    text
        What is said; each kind has its own example.
    sender
        The customer's Instagram-scoped id; `new` is somebody who never wrote before.
    account
        The merchant's Instagram account; INSTAGRAM_PAGE_ID when not given.
    mid
        The message a reaction, read, edit or unsend is about.
    parent
        The comment a comment answers, or a mention is in.
    payload
        What a postback or quick reply carries.
    emoji
        What a reaction shows.
    attachment
        For image: another kind of attachment, such as video, audio or ig_reel.
    duplicate
        Send the same webhook this many times, as Instagram does when an answer was late.
    wait
        Follow the sandbox until the reply is delivered, and print it.
    patience
        How long --wait waits, such as 30s or 2m.
    url
        Where the webhook is.
    sandbox
        Where the sandbox world is.
    secret
        Signs the body; META_APP_SECRET when not given.
    show
        Print the body and the signature, and send nothing.
    json
        Print JSON.
    """
    try:
        longest = parse_duration(patience).total_seconds()
    except ValueError as error:
        raise Failure(f"--patience: {error}") from None
    made = _made(
        kind, file, secret, account, Wishes(sender, text, payload, emoji, mid, parent, attachment), sandbox=sandbox
    )
    if show:
        _show_unsent(made, url, json=json)
        return 0
    async with httpx2.AsyncClient(trust_env=False) as client:
        world = Sandbox(client, sandbox)
        before = await _tell(world, made, insist=wait)
        begun = time.monotonic()
        with screen.working(f"Posting {kind} to {url}"):
            posts = [await _post(client, url, made) for _ in range(duplicate)]
        accepted = all(post.status == made.expected_status for post in posts)
        if not json:
            _show_posts(kind, made, posts)
        answers = list[Answer]()
        follows = wait and accepted and made.answered
        if follows:
            with screen.working("Waiting for the reply"):
                answers = await world.answers(before, made.contacts, longest, begun=begun)
    answered = {answer.contact for answer in answers} == set(made.contacts)
    if json:
        screen.as_json(_as_data(kind, made, posts, answers))
    else:
        _show_answers(kind, made, answers, follows=follows, wait=wait)
    if not accepted:
        raise _refused(posts, made, url)
    if follows and not answered:
        silent = next(one for one in made.contacts if one not in {answer.contact for answer in answers})
        from cli.merchants_known import is_nobodys  # noqa: PLC0415 only a reply that is missing needs the database

        if await is_nobodys(made.updates[0].account):
            raise Failure(
                f"no reply reached {silent}: no merchant has the account {made.updates[0].account}",
                "give one that `jawab merchants accounts` shows with --account, or add it: "
                f"`jawab merchants add ID --name … --account {made.updates[0].account}`",
            )
        raise Failure(
            f"no reply reached {silent} within {in_words(timedelta(seconds=longest))}",
            f"`jawab conversation {made.updates[0].account}:{silent}` tells whether one was meant to; "
            "`jawab doctor` checks each part of the way",
        )
    return 0


def _made(
    kind: Kind, file: Path | None, secret: str | None, account: str | None, wishes: Wishes, *, sandbox: str
) -> Webhook:
    signing = secret or needed(SIGNING_NAMES, "--secret")
    if kind == "raw":
        if file is None:
            raise Failure("raw needs the file to post", "jawab simulate raw body.json, or - for standard input")
        return raw_webhook(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes(), signing)
    if file is not None:
        raise Failure(f"{kind} takes no file", "say the words with --text, or post the file with `jawab simulate raw`")
    simulator = Simulator(
        seed=secrets.token_hex(8),
        account=account or first_of(ACCOUNT_NAMES) or DEFAULT_ACCOUNT_ID,
        media=sandbox.rstrip("/"),
    )
    if not INSTAGRAM_ID.fullmatch(simulator.account):
        raise Misconfigured(
            f"{'--account' if account else 'INSTAGRAM_PAGE_ID'} {simulator.account}: is not an Instagram account's id: "
            "1 to 32 digits",
            "`jawab merchants accounts` shows those there are",
        )
    if wishes.contact != "new" and not INSTAGRAM_ID.fullmatch(wishes.contact):
        raise Failure(
            f"--from {wishes.contact}: is not an Instagram-scoped id: 1 to 32 digits",
            "`--from new` is somebody who never wrote before; without --from it is always the same customer",
        )
    contact = simulator.contact() if wishes.contact == "new" else wishes.contact
    try:
        return webhook(kind, Wishes(**{**vars(wishes), "contact": contact}), simulator, signing)
    except ValueError as error:
        raise Failure(str(error)) from None


async def _tell(world: Sandbox, made: Webhook, *, insist: bool) -> int:
    """Let the sandbox know what happens, and return where its journal stands. Only --wait needs a sandbox."""
    try:
        before = await world.last()
        if made.updates:
            await world.learn(made.updates)
        return before
    except Failure:
        if insist:
            raise
        return 0


async def _post(client: httpx2.AsyncClient, url: str, made: Webhook) -> Posted:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(POST_TIMEOUT):
            response = await client.post(url, content=made.body, headers=dict(made.headers), timeout=POST_TIMEOUT)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Failure(
            f"nobody answered at {url} ({type(error).__name__})",
            "start everything with `jawab up`, or say where the webhook is with --url",
        ) from None
    return Posted(response.status_code, (time.perf_counter() - begun) * 1000, response.text[:200])


def _refused(posts: list[Posted], made: Webhook, url: str) -> Failure:
    post = next(post for post in posts if post.status != made.expected_status)
    fixes = {
        200: "its signature check is off, or it knows the wrong secret",
        401: "sign with the secret that the webhook has: META_APP_SECRET, or --secret",
        404: "say where the webhook is with --url",
        503: "the webhook cannot reach Kafka: see `jawab doctor`",
    }
    said = f": {screen.plain(post.said)}" if post.said else ""
    return Failure(
        f"{url} answered {post.status}, expected was {made.expected_status}{said}", fixes.get(post.status, "")
    )


def _show_unsent(made: Webhook, url: str, *, json: bool) -> None:
    if json:
        screen.as_json({"url": url, "headers": dict(made.headers), "body": made.body.decode(errors="replace")})
        return
    screen.say(f"POST {url}")
    for name, value in made.headers.items():
        screen.say(f"{name}: {value}")
    screen.say("")
    sys.stdout.write(made.body.decode(errors="replace") + "\n")


def _show_posts(kind: str, made: Webhook, posts: list[Posted]) -> None:
    for post in posts:
        right = post.status == made.expected_status
        said = f"{kind} answered {post.status} in {post.milliseconds:.0f} ms"
        if made.expected_status != 200 and right:  # noqa: PLR2004 an HTTP status
            said += ", refused as it should be"
        screen.say(Text.assemble((screen.OK if right else screen.BAD, "green" if right else "red"), f" {said}"))
    for id_ in made.ids:
        screen.say(f"  id {id_}")


def _show_answers(kind: str, made: Webhook, answers: list[Answer], *, follows: bool, wait: bool) -> None:
    for answer in answers:
        about = f"{screen.OK} {answer.kind.replace('_', ' ')} over {answer.route} in {answer.seconds * 1000:.0f} ms: "
        screen.say(Text.assemble(about, screen.words(answer.text)))
    if wait and not made.answered:
        screen.note(f"nothing is waited for: {kind} need not be answered")
    if not follows and made.answered:
        screen.following(f"jawab simulate {kind} --wait", "jawab doctor")
    elif made.contacts:
        screen.following(f"jawab conversation {made.updates[0].account}:{made.contacts[0]}")


def _as_data(kind: str, made: Webhook, posts: list[Posted], answers: list[Answer]) -> dict[str, object]:
    return {
        "kind": kind,
        "ids": list(made.ids),
        "contacts": list(made.contacts),
        "expected_status": made.expected_status,
        "posts": [{"status": post.status, "milliseconds": round(post.milliseconds, 1)} for post in posts],
        "answers": [vars(answer) for answer in answers],
        "bytes": len(made.body),
        "body": json_format.loads(made.body) if kind != "raw" else None,
    }
