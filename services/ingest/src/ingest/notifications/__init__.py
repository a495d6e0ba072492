"""Meta's event notifications, in our words: the only place that knows theirs.

`normalise` is pure and total: whatever JSON object comes, each item in it becomes one event, and what nobody here knows
becomes an `unknown` event that keeps it whole.
"""

from ingest.notifications.envelope import MAX_ITEMS, SOURCE, normalise
from ingest.notifications.item import NO_ACCOUNT

__all__ = ["MAX_ITEMS", "NO_ACCOUNT", "SOURCE", "normalise"]
