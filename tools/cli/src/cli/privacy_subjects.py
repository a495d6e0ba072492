"""Whom an operator means by ids, by a file of ids (Meta's mails) or by a username. Pure, but for reading the file."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.failures import Failure
from common.events.ids import contact_of_username, conversation_id, same_username

CONTACT = re.compile(r"[0-9]{1,32}|un_[0-9a-f]{32}")
ACCOUNT = re.compile(r"[0-9]{1,32}")
USERNAME = re.compile(r"[a-z0-9._]{1,30}")
MAX_SUBJECTS = 10_000
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, order=True)
class Subject:
    """One customer: a contact of one account, or of every account (`account_id` empty)."""

    contact_id: str
    account_id: str = ""

    def __str__(self) -> str:
        """Return the customer as an operator names them."""
        return f"{self.account_id}:{self.contact_id}" if self.account_id else self.contact_id

    def conversations(self, accounts: Iterable[str]) -> list[str]:
        """Return the ids of the conversations this may be about; `accounts` are all there are."""
        named = [self.account_id] if self.account_id else sorted(set(accounts))
        return [conversation_id(account, self.contact_id) for account in named]


def subjects_of(
    ids: Sequence[str], *, file: Path | None, username: str | None, account: str | None, accounts: Sequence[str]
) -> list[Subject]:
    """Return whom all of it names, each once. Raises Failure, which says what is wrong where."""
    if account is not None and not ACCOUNT.fullmatch(account):
        raise Failure("--account must be an account's id, of digits", "`jawab merchants accounts` lists them")
    found = [_subject(text, account, f"id {number}") for number, text in enumerate(ids, 1)]
    if file is not None:
        found += _in_file(file, account)
    if username is not None:
        found += _by_username(username, [account] if account else accounts)
    subjects = sorted(set(found))
    if not subjects:
        raise Failure("nobody is named", "give ids, --file with one id a line, or --username")
    if len(subjects) > MAX_SUBJECTS:
        raise Failure(f"{len(subjects)} customers are named, at most {MAX_SUBJECTS} are taken", "split the file")
    return subjects


def _subject(text: str, account: str | None, where: str) -> Subject:
    named, colon, contact = text.strip().rpartition(":")
    if not CONTACT.fullmatch(contact) or (colon and not ACCOUNT.fullmatch(named)):
        raise Failure(
            f"{where} is not a customer's id",
            "write digits as Meta names them, or ACCOUNT:CONTACT as `jawab conversation` takes it; a name goes into "
            "--username",
        )
    if colon and account is not None and named != account:
        raise Failure(f"{where} names another account than --account", "leave out one of them")
    return Subject(contact, named or account or "")


def _in_file(file: Path, account: str | None) -> list[Subject]:
    """Read ids, one a line; blank lines, what follows a #, quotes and commas around an id are nothing."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise Failure(f"--file is larger than {MAX_BYTES} bytes", "split it")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            f"--file cannot be read ({type(error).__name__})", "name a text file with one id a line"
        ) from None
    bare = [line.partition("#")[0].strip(" \t,;\"'") for line in lines]
    return [_subject(text, account, f"line {number} of the file") for number, text in enumerate(bare, 1) if text]


def _by_username(username: str, accounts: Sequence[str]) -> list[Subject]:
    name = same_username(username)
    if not USERNAME.fullmatch(name):
        raise Failure(
            "--username is not a username", "up to 30 letters, digits, dots and underscores, with or without @"
        )
    if not accounts:
        raise Failure("--username needs an account, and none is known", "give --account")
    return [Subject(contact_of_username(account, name), account) for account in accounts]
