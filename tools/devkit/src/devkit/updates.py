"""What the platform tells, and the webhook bodies it tells it in.

An :class:`Update` is one thing that happened; :func:`body_of` packs one or many of them into a body of the shape the
platform uses for it. The shapes, and who uses them:

* ``messaging`` and ``standby``: direct messages; times in **milliseconds**;
* ``changes``: comments, mentions, insights; the entry's time in **seconds**;
* ``flat``: the ``field``/``value`` pair right in the entry, as documented for Instagram-Login comments;
* the dashboard's test button (:func:`dashboard_test`), a messaging item in ``changes`` under entry "0".
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

Section = Literal["messaging", "standby", "changes", "flat"]
Item = dict[str, Any]
Body = dict[str, Any]

DASHBOARD_ENTRY_ID = "0"


@dataclass(frozen=True, slots=True)
class Update:
    """One thing that happened, and where the platform would put it.

    `at_ms` is when it happened, in milliseconds. `id` is the message's, comment's or media's id, empty where
    the platform gives none. `contact` is the customer it concerns, empty where there is none.
    """

    kind: str
    section: Section
    account: str
    item: Item
    at_ms: int
    contact: str = ""
    id: str = ""

    def body(self) -> Body:
        """Return the webhook body carrying this update alone."""
        return body_of(self)

    def standby(self) -> "Update":
        """Return the same update as an app sees it that does not control the conversation.

        The platform leaves out a postback's payload there.
        """
        item = dict(self.item)
        if "postback" in item:
            item["postback"] = {k: v for k, v in item["postback"].items() if k != "payload"}
        return replace(self, kind=f"standby.{self.kind}", section="standby", item=item)

    def flat(self) -> "Update":
        """Return the same change with ``field`` and ``value`` right in the entry."""
        return replace(self, section="flat")

    def later(self, milliseconds: int) -> "Update":
        """Return the same update, delivered and stamped that much later."""
        item = dict(self.item)
        if "timestamp" in item:
            item["timestamp"] = self.at_ms + milliseconds
        return replace(self, item=item, at_ms=self.at_ms + milliseconds)


def body_of(*updates: Update, object_: str = "instagram") -> Body:
    """Pack updates into one webhook body, neighbours of one account and section into one entry.

    Order is kept. A flat update always has an entry of its own. The entry's time is a little after its last
    item, in milliseconds for messaging and in seconds for changes.
    """
    entries: list[Body] = []
    previous: Update | None = None
    for update in updates:
        joins = (
            previous is not None
            and update.section != "flat"
            and (previous.account, previous.section) == (update.account, update.section)
        )
        if not joins:
            entries.append({"id": update.account})
        entry = entries[-1]
        if update.section == "flat":
            entry["time"] = update.at_ms // 1000
            entry.update(update.item)
        else:
            entry["time"] = update.at_ms // 1000 if update.section == "changes" else update.at_ms + 412
            entry.setdefault(update.section, []).append(update.item)
        previous = update
    return {"object": object_, "entry": entries}


def dashboard_test(update: Update) -> Body:
    """Return the body the app dashboard's test button sends for a message: a change of the account "0"."""
    value = {**update.item, "timestamp": str(update.at_ms // 1000)}
    fields = {"postback": "messaging_postbacks", "read": "messaging_seen", "reaction": "message_reactions"}
    name = next((fields[key] for key in fields if key in value), "messages")
    return {
        "object": "instagram",
        "entry": [
            {
                "id": DASHBOARD_ENTRY_ID,
                "time": update.at_ms // 1000,
                "changes": [{"field": name, "value": value}],
            }
        ],
    }
