"""Whether an error whose subcode is not known concerns one contact or the whole account.

Pure. Meta adds subcodes without notice, and most of them are about one message or one contact. Only when the same error
meets several contacts of an account is it about the account.
"""

from collections import OrderedDict
from datetime import datetime, timedelta

CONTACTS_TO_STOP = 3
COUNTED_FOR = timedelta(hours=1)
MAX_ACCOUNTS = 10_000


class ContactErrors:
    """The contacts of each account that met an error of unknown subcode lately, by the reason it was given."""

    def __init__(self) -> None:
        self._met: OrderedDict[tuple[str, str], dict[str, datetime]] = OrderedDict()

    def concerns_account(self, account_id: str, reason: str, contact: str, now: datetime) -> bool:
        """Count an error that a contact met, and tell whether CONTACTS_TO_STOP of them met it within COUNTED_FOR."""
        met = self._met.setdefault((account_id, reason), {})
        self._met.move_to_end((account_id, reason))
        while len(self._met) > MAX_ACCOUNTS:
            self._met.popitem(last=False)
        met[contact] = now
        for other in [one for one, at in met.items() if now - at >= COUNTED_FOR]:
            del met[other]
        if len(met) < CONTACTS_TO_STOP:
            return False
        del self._met[account_id, reason]
        return True
