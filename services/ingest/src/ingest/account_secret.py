"""The secret with which the flows of one account speak: `python -m ingest.account_secret 17841400000000001` prints it.

It names its account and is derived from the installation's secret, so ingest keeps no list of them: whoever holds one
account's secret can speak for no other, and naming a new MANYCHAT_WEBHOOK_SECRET beside the old one rotates them all.
"""

import hashlib
import hmac
import re
import sys
from collections.abc import Mapping, Sequence

from common.settings import split_secrets

VARIABLE = "MANYCHAT_WEBHOOK_SECRET"
SHAPE = re.compile(r"(?P<account>[0-9]{1,32})\.[0-9a-f]{64}")


def secret_of(account: str, secret: str) -> str:
    """Return the account's own secret: its id, and what only who holds the installation's `secret` can derive."""
    proof = hmac.new(secret.encode(), f"manychat:{account}".encode(), hashlib.sha256)
    return f"{account}.{proof.hexdigest()}"


def account_of(given: str | None, secrets: Sequence[str]) -> str | None:
    """Return the account whose own secret is `given`, or None; all of `secrets` are tried, in constant time."""
    shaped = SHAPE.fullmatch(given or "")
    if shaped is None:
        return None
    account, matched = shaped["account"], False
    for secret in secrets:
        matched |= hmac.compare_digest(secret_of(account, secret), shaped[0])
    return account if matched else None


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the secret of the account that the one argument names. Raises SystemExit with what is wrong."""
    secrets = split_secrets(environ.get(VARIABLE, ""))
    if not isinstance(secrets, tuple) or not secrets:
        raise SystemExit(f"{VARIABLE} is not set: run this where ingest runs")
    if len(arguments) != 1 or SHAPE.fullmatch(f"{arguments[0]}.{'0' * 64}") is None:
        raise SystemExit("name the account by its id, a number: python -m ingest.account_secret 17841400000000001")
    return secret_of(arguments[0], secrets[0].get_secret_value())


if __name__ == "__main__":
    import os

    sys.stdout.write(main(sys.argv[1:], os.environ) + "\n")
