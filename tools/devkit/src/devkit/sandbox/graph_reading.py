"""The part of the Graph API that only reads: profiles, conversations and their messages."""

from typing import Any

from devkit.sandbox.calls import Answer, Call
from devkit.sandbox.graph_errors import GraphErrors
from devkit.sandbox.graph_fields import graph_time, head_of, parse_fields, pick
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import Account, Message, World

PROFILE_FIELDS = (
    "name",
    "username",
    "profile_pic",
    "follower_count",
    "is_user_follow_business",
    "is_business_follow_user",
    "is_verified_user",
)

_CDN = "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1"
_ATTACHMENTS: dict[str, dict[str, Any]] = {
    "image": {"image_data": {"width": 640, "height": 640, "url": _CDN}},
    "video": {"video_data": {"width": 640, "height": 640, "url": _CDN}},
    "audio": {"mime_type": "audio/mp4", "file_url": _CDN},
    "file": {"file_url": _CDN},
    "template": {"generic_template": {"title": "…"}},
}
"""How a thread that is read shows attachments; a heart is not among them."""


class ReadingActs:
    """What can be read about people."""

    def __init__(self, world: World, rates: Rates, errors: GraphErrors) -> None:
        self._world = world
        self._rates = rates
        self._errors = errors
        self.acts = {
            "profile": self._profile,
            "conversations": self._conversations,
            "thread": self._thread,
            "thread_message": self._thread_message,
        }

    def _profile(self, call: Call, account: Account) -> Answer:
        person = self._world.person(account.id, call.contact)
        if person.profile_error is not None:
            return self._errors(person.profile_error, None)
        if person.missing:
            return self._errors.bad("There is no such user", 33)
        fields = parse_fields(call.request.query.get("fields", ""))
        wrong = [name for name in fields if name not in {*PROFILE_FIELDS, "id"}]
        if wrong:
            return self._errors.bad(f"Tried accessing nonexisting field ({wrong[0]})")
        known = {
            "id": person.id,
            "name": person.name,
            "username": person.username,
            "profile_pic": f"https://scontent.cdninstagram.com/v/{person.id}.jpg",
            "follower_count": int(person.id[-3:]) if person.id.isdigit() else 0,
            "is_user_follow_business": True,
            "is_business_follow_user": False,
            "is_verified_user": False,
        }
        return Answer(200, pick(known, fields, ("name", "username")))

    def _conversations(self, call: Call, account: Account) -> Answer:
        now = self._world.now()
        if not self._rates.allows("conversations", account.id, limit=2.0, seconds=1.0, now=now):
            return self._errors(613, None)
        fields = parse_fields(call.request.query.get("fields", ""))
        chosen = [
            conversation
            for (owner, contact), conversation in reversed(self._world.conversations.items())
            if owner == account.id and call.contact in {"", contact}
        ]
        data = []
        for conversation in chosen[:25]:
            known: dict[str, Any] = {
                "id": self._world.thread_of(account.id, conversation.contact),
                "updated_time": graph_time(conversation.lines[-1].time if conversation.lines else now),
            }
            if "messages" in fields:
                known["messages"] = self._messages(account.id, conversation.contact, fields["messages"])
            data.append(pick(known, fields, ("id", "updated_time")))
        return Answer(200, {"data": data})

    def _thread(self, call: Call, account: Account) -> Answer:
        conversation = self._world.conversation_by_thread(head_of(call))
        if conversation is None or conversation.account != account.id:
            return self._errors.bad("There is no such conversation", 33)
        fields = parse_fields(call.request.query.get("fields", ""))
        known = {
            "id": head_of(call),
            "updated_time": graph_time(conversation.lines[-1].time),
            "messages": self._messages(account.id, conversation.contact, fields.get("messages", {})),
        }
        return Answer(200, pick(known, fields, ("id", "updated_time")))

    def _thread_message(self, call: Call, account: Account) -> Answer:
        message = self._world.messages.get(head_of(call))
        if message is None or message.account != account.id:
            return self._errors.bad("There is no such object, or the token may not read it", 33)
        fields = parse_fields(call.request.query.get("fields", ""))
        return Answer(200, self._message_body(message, fields))

    def _messages(self, account: str, contact: str, fields: dict[str, Any]) -> dict[str, Any]:
        found = self._world.messages_of(account, contact)
        return {"data": [self._message_body(message, fields) for message in found]}

    def _message_body(self, message: Message, fields: dict[str, Any]) -> dict[str, Any]:
        business = {"id": message.account, "username": self._world.account(message.account).username}
        person = self._world.person(message.account, message.contact)
        customer = {"id": person.id, "username": person.username}
        sender, receiver = (business, customer) if message.outgoing else (customer, business)
        known = {
            "id": message.id,
            "created_time": graph_time(message.created),
            "from": sender,
            "to": {"data": [receiver]},
            "message": "" if message.kinds else message.text,
        }
        attachments = [_ATTACHMENTS[kind] for kind in message.kinds if kind in _ATTACHMENTS]
        if attachments:
            known["attachments"] = {"data": attachments}
        if "ig_post" in message.kinds:
            known["shares"] = {"data": [{"link": "https://www.instagram.com/p/sandbox/"}]}
        return pick(known, fields, ("id", "created_time"))
