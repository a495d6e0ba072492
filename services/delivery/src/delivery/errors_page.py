"""Shows the error tables as a page for people: `python -m delivery.errors_page docs/errors.md`.

The page is made from the tables themselves, so it cannot say anything else than what is done.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from delivery.platforms import graph_errors, manychat_errors
from delivery.platforms.graph_errors import Meaning
from delivery.platforms.sending import Action

DONE: Mapping[Action, str] = {
    "retry": "made again: the call changes nothing, or never left",
    "unknown": "looked for in the conversation, never repeated blindly; reads are made again",
    "sent_or_unknown": "looked for in the conversation, and probably found; never repeated blindly",
    "pause_app": "all calls of the app wait; then it is sent",
    "pause_account": "all calls of this account wait; then it is sent",
    "pause_call": "the account's calls of this kind wait; then it is sent",
    "reconnect": "fails; the account is stopped until it is connected again",
    "suspend": "fails; the account is stopped for an hour once the third contact meets it within an hour",
    "restrict": "fails; the account is stopped until it is connected again",
    "hold": "fails; the account is stopped for 6 hours",
    "refuse_key": "takes the other route; ManyChat is left out until another key is entered, at most an hour",
    "refuse_and_alert": "fails; people are told",
    "once_more": "sent once more after 2 seconds, then fails",
    "done": "delivered, where an earlier attempt's outcome was unknown; else fails",
    "other_app": "fails; another app has the conversation",
    "ignore": "done without: only lookups of a person's profile meet it",
    "elsewhere": "takes the other route where there is one; else fails",
    "refuse": "fails",
}
ALERTS: Mapping[Action, str] = {
    "unknown": "JawabOutsideApiLeftAlone",
    "sent_or_unknown": "JawabOutsideApiLeftAlone",
    "pause_app": "JawabSendingPaused",
    "pause_account": "JawabSendingPaused",
    "pause_call": "JawabSendingPaused",
    "reconnect": "JawabAccountStopped",
    "suspend": "JawabAccountStopped",
    "restrict": "JawabAccountStopped",
    "hold": "JawabAccountStopped",
    "refuse_key": "JawabAccountStopped",
    "refuse_and_alert": "JawabAccountMisconfigured",
    "once_more": "JawabRepliesFailing",
    "done": "JawabRepliesFailing",
    "other_app": "JawabRepliesFailing",
    "elsewhere": "JawabRepliesFailing",
    "refuse": "JawabRepliesFailing",
}
"""The alert that an action leads to: at once where an account is concerned, when it is many or lasts for the others."""

HEAD = """# What errors mean

Every error that Instagram or ManyChat answers is one row of a table in the delivery service. A row says what is done
about the message and about the account, which alert it leads to, and what the merchant reads: the `detail` of the
reply's outcome (`jawab conversation`, the HTTP API, `replies.delivered.v1`), with the code behind it. The platform's
own words are never shown: they may quote a token or a customer. `delivery_errors_total{api, code, action}` counts
each row.

This page is made from the tables: `python -m delivery.errors_page docs/errors.md`.

## How an answer is read

1. By code and subcode. The HTTP status and `type` say nothing that these do not say better.
2. A subcode that is not in the table: by its code alone. Where that would stop the account, it counts against the
   contact first (`suspend`), since other subcodes of the same code are about one message: the account is stopped when a
   third contact meets it within an hour, and for an hour only. A token's codes (102, 190) stop it at once. Where it
   would pause the whole app, only the account is paused: other subcodes are about one account, and a limit of the app
   meets all of them.
3. A code that is not in the table: unclear where the platform calls it transient, else by the HTTP status.
4. No code at all (a proxy's page, a body that is no JSON): by the HTTP status, and no account is stopped for it.

*Unclear* means that nobody knows whether the message was sent. What may be repeated (reading, hiding, typing) is made
again.
"""

TAIL = """## Usage headers

`X-App-Usage` is about all accounts, `X-Business-Use-Case-Usage` about one; of its types `instagram`, `messenger` and
`pages` count, and what names none, but no advertising. From 70 % on, calls are spaced: a little
at first, 10 seconds apart just below the limit. At 100 % no call is made for the minutes that the header names, or
for 5 minutes where it names none. What waits is not announced in the ledger, so nothing is under way meanwhile.
`delivery_paused_buckets` and `delivery_slowed_buckets` show it. After a pause one call a second tries, until one
works. A figure that is not told again for an hour slows nothing any more.

## Stopped accounts

A stop is written to the `accounts` collection, once, with its reason; the merchant's people get one notice, not one
per message. Every replica heeds it within 5 seconds. Replies are then withheld before any call, as
`needs_reconnection` or `restricted`, with the sentence above as `detail`; where only the token is no good and the
merchant has ManyChat, direct messages go that way. `jawab merchants connect` ends it. What an old token was told does
not stop an account again that was connected since. See [the runbook](runbooks/JawabAccountStopped.md).
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, "\n".join(_actions()), "\n".join(_graph()), "\n".join(_manychat()), TAIL])


def _actions() -> Iterator[str]:
    yield "## What is done\n"
    yield "| action | the message | alert |"
    yield "|---|---|---|"
    for action in get_args(Action):
        yield f"| `{action}` | {DONE[action]} | {_link(action)} |"
    yield ""


def _graph() -> Iterator[str]:
    yield "## Instagram (Graph API)\n"
    yield from _head("code/subcode")
    for (code, subcode), meaning in graph_errors.KNOWN.items():
        yield _row(graph_errors.name_of(code, subcode), meaning)
    ambiguous = graph_errors.AMBIGUOUS_CODE
    yield _row(f"{ambiguous}, about `{graph_errors.PROOF}`", graph_errors.WRONG_PROOF)
    yield _row(f"{ambiguous}, about a user that is not found", graph_errors.NO_PERSON)
    others = graph_errors.PERMISSION_CODES
    yield _row(f"{others.start}-{others.stop - 1}", graph_errors.PERMISSION)
    for status, meaning in graph_errors.BY_STATUS.items():
        yield _row(f"HTTP {status}", meaning)
    yield _row("HTTP 5xx, no answer, a reset, a 200 without an id", graph_errors.UNCLEAR)
    yield _row("any other", graph_errors.REFUSED)
    yield ""


def _manychat() -> Iterator[str]:
    yield "## ManyChat\n"
    yield from _head("code")
    failures = manychat_errors.CHANNEL_FAILURES
    for code, meaning in manychat_errors.KNOWN.items():
        if code not in failures:
            yield _row(str(code), meaning)
    yield _row(f"{failures.start}-{failures.stop - 1}", manychat_errors.CHANNEL)
    yield _row("an unknown subscriber, in words", manychat_errors.NOT_SUBSCRIBED)
    for status, meaning in manychat_errors.BY_STATUS.items():
        yield _row(f"HTTP {status}", meaning)
    yield _row("HTTP 5xx, no answer, a reset, a 200 without a status", manychat_errors.UNCLEAR)
    yield _row("any other", manychat_errors.REFUSED)
    yield ""


def _head(first: str) -> Iterator[str]:
    yield f"| {first} | reason | action | what the merchant reads |"
    yield "|---|---|---|---|"


def _row(name: str, meaning: Meaning) -> str:
    return f"| {name} | `{meaning.reason}` | `{meaning.action}` | {meaning.said} |"


def _link(action: Action) -> str:
    alert = ALERTS.get(action)
    return f"[{alert}](runbooks/{alert}.md)" if alert is not None else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
