"""How each account stands, as the services found out, and how long its token lasts: read from the database."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from cli.moments import in_words
from common.accounts import Standing
from common.merchants import Account, Merchant

SOON = timedelta(days=10)
"""Before a token's end: enough to connect again at leisure."""

NEVER_CHECKED = "never checked"
"""Of an account that nobody connected and nothing was found out about."""

BY_OPERATOR = "disconnected_by_operator"


def account_checks(
    merchants: Sequence[Merchant], known: Mapping[str, Standing] | None, *, own: Merchant | None = None
) -> list[Check]:
    """Return a check for each account; `known` None where the database could not be read.

    `own` is the merchant that the environment alone configures: nobody renews its token.
    """
    return [
        _check(merchant, account, known, renewed=merchant is not own)
        for merchant in merchants
        for account in merchant.accounts
    ]


def connecting_command(merchant: Merchant, account: Account) -> str:
    """Return the command that connects an account."""
    main = account.account_id == merchant.account_id
    return f"jawab merchants connect {merchant.id}" + ("" if main else f" --account {account.account_id}")


def _check(merchant: Merchant, account: Account, known: Mapping[str, Standing] | None, *, renewed: bool) -> Check:
    connect = connecting_command(merchant, account)

    async def look() -> str:
        if known is None:
            raise NotLooked("MongoDB is away")
        standing = known.get(account.account_id, Standing(account.account_id))
        has_token = renewed and account.access_token is not None
        return judged(standing, account.token_expires_at, datetime.now(UTC), connect, has_token=has_token)

    return Check("merchants", f"account {account.account_id}", look)


def never_checked(standing: Standing) -> bool:
    """Tell whether an account's being active is only assumed."""
    return standing.since is None and standing.state == "active"


def judged(
    standing: Standing, expires_at: datetime | None, now: datetime, connect: str, *, has_token: bool = False
) -> str:
    """Say how an account stands. Raises Wrong, Doubtful; `connect` is the command that connects it.

    `has_token`: it has one that cleanup renews, so its end should be known.
    """
    state = standing.state_at(now)
    if state != "active":
        since = f" since {standing.since:%Y-%m-%d %H:%M} UTC" if standing.since is not None else ""
        until = f" until {standing.until:%Y-%m-%d %H:%M} UTC" if standing.until is not None else ""
        why = f": {standing.reason}" if standing.reason else ""
        said = f"{state.replace('_', ' ')}{since}{until}{why}"
        if standing.reason == BY_OPERATOR:
            raise Doubtful(said, f"to answer it again: {connect}")
        raise Wrong(said, standing.detail if state == "restricted" and standing.detail else connect)
    if expires_at is None and has_token and standing.since is not None:
        raise Doubtful(
            "active, and nobody knows when its token ends: 60 days after it was made",
            f"wait a day: cleanup tries to renew it daily (see its log, renewal.not_yet); if this stays: {connect} "
            "--token prompt",
        )
    if expires_at is None:
        return f"active ({NEVER_CHECKED}: {connect})" if never_checked(standing) else "active"
    left = expires_at - now
    if left <= timedelta():
        raise Wrong(f"its token ended on {expires_at:%Y-%m-%d}", f"{connect} --token prompt")
    if left < SOON:
        raise Doubtful(f"active, and its token ends in {in_words(left)}", f"{connect} --token prompt")
    return f"active, its token lasts until {expires_at:%Y-%m-%d}"
