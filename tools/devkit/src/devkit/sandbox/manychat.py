"""ManyChat's public API, as far as Jawab uses it: sending content and flows, finding subscribers, fields and tags.

A subscriber is a customer under ManyChat's own number. Here the number follows from the Instagram-scoped id by a
fixed calculation, so that a lookup finds anybody, unless they were declared not to be a subscriber.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from devkit.sandbox import echoes
from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import (
    HUMAN_WINDOW_SECONDS,
    WINDOW_SECONDS,
    Account,
    Person,
    World,
    subscriber_of,
)
from devkit.simulator import Update

MAX_MESSAGES = 10
MAX_ACTIONS = 5
MAX_QUICK_REPLIES = 11
MAX_CUSTOM_FIELDS = 20
MAX_TEXT_CHARACTERS = 2000
MAX_TEXT_BYTES = 1000
MESSAGE_KINDS = frozenset({"text", "image", "cards"})
ACTIONS = frozenset({"add_tag", "remove_tag", "set_field_value", "unset_field_value"})
TAGS = frozenset({"HUMAN_AGENT", "ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE"})

NO_TAG = 3011
CHANNEL_FAILED = 3041

_KEY = re.compile(r"^\d+:\S+$")
_IGSID = re.compile(r"^\d{15,17}$")

# Calls a second by method; sendFlow also has a limit by the hour and subscriber.
_OTHER = (
    *("getInfo", "findByCustomField", "findByName", "getFlows", "setCustomField", "setCustomFieldByName"),
    *("setCustomFields", "addTag", "addTagByName", "removeTag", "removeTagByName", "createSubscriber"),
    "updateSubscriber",
)
_LIMITS = {"sendContent": 25.0, "sendFlow": 20.0, **dict.fromkeys(_OTHER, 10.0)}
_FLOW_LIMIT_AN_HOUR = 100.0


class Refused(Exception):
    """A refusal on its way to becoming an answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ManyChatRoom:
    """ManyChat, for those who hold a page's key."""

    api = "manychat"

    def __init__(self, world: World, rates: Rates, *, igsid_field_id: str) -> None:
        self._world = world
        self._rates = rates
        self._igsid_field_id = igsid_field_id
        self._acts: dict[tuple[str, str], Callable[[Call, Account], Answer]] = {
            ("POST", "sending/sendContent"): self._send_content,
            ("POST", "sending/sendFlow"): self._send_flow,
            ("GET", "subscriber/getInfo"): self._get_info,
            ("GET", "subscriber/findByCustomField"): self._find_by_custom_field,
            ("GET", "subscriber/findBySystemField"): self._find_by_system_field,
            ("GET", "subscriber/findByName"): self._find_by_name,
            ("POST", "subscriber/setCustomField"): self._set_custom_field,
            ("POST", "subscriber/setCustomFieldByName"): self._set_custom_field,
            ("POST", "subscriber/setCustomFields"): self._set_custom_fields,
            ("POST", "subscriber/addTag"): self._tag,
            ("POST", "subscriber/addTagByName"): self._tag,
            ("POST", "subscriber/removeTag"): self._tag,
            ("POST", "subscriber/removeTagByName"): self._tag,
            ("POST", "subscriber/createSubscriber"): self._create_subscriber,
            ("POST", "subscriber/updateSubscriber"): self._update_subscriber,
            ("GET", "page/getInfo"): self._page_info,
            ("GET", "page/getTags"): self._page_tags,
            ("GET", "page/getCustomFields"): self._page_custom_fields,
            ("GET", "page/getFlows"): self._page_flows,
        }

    def describe(self, request: Request) -> Call:
        """Find the account by the key's page and the person by the subscriber's number."""
        method = request.path.removeprefix("/fb/")
        kind = method.rpartition("/")[2] if (request.method, method) in self._acts else "unknown"
        parameters = request.parameters
        page = request.bearer.partition(":")[0]
        registered = self._world.account_by_page(page) if page else None
        contact = ""
        number = _whole(parameters.get("subscriber_id"))
        if number is not None:
            contact = self._world.contact_by_subscriber(number) or ""
        elif kind == "findByCustomField":
            contact = str(parameters.get("field_value", ""))
        account = registered.id if registered else self._world.account_of(contact)
        return Call(self.api, kind, request, account=account, contact=contact, text=_words(parameters))

    def perform(self, call: Call) -> Answer:
        """Do what is asked, or refuse it in one of ManyChat's two shapes."""
        if not _KEY.match(call.request.bearer):
            message = "The key must be given as Authorization: Bearer <page id>:<key>"
            return Answer(401, {"status": "error", "message": message}, error="401")
        act = self._acts.get((call.request.method, call.request.path.removeprefix("/fb/")))
        if act is None:
            body = {"status": "error", "message": f"There is no method {call.request.path}"}
            return Answer(404, body, error="404")
        limit = _LIMITS.get(call.kind)
        now = self._world.now()
        if limit and not self._rates.allows(call.kind, call.account, limit=limit, seconds=1.0, now=now):
            return self._too_many()
        if call.request.invalid:
            return _refusal(call.request.invalid, None)
        try:
            return act(call, self._world.account(call.account))
        except Refused as refusal:
            return _refusal(str(refusal), refusal.code)

    def fail(self, call: Call, fault: FaultRule) -> Answer:  # noqa: ARG002 - every room has this signature
        """Give the ordered failure as ManyChat words it."""
        if fault.behaviour == "manychat_error":
            answer = _refusal(fault.message or "The content could not be sent", fault.code)
            return replace(answer, status=fault.status or answer.status)
        if fault.behaviour == "rate_limited":
            answer = self._too_many()
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            return replace(answer, headers=headers, status=fault.status or answer.status)
        body = {"status": "error", "message": fault.message or "Internal error"}
        status = fault.status or 500
        return Answer(status, body, error=str(status))

    @staticmethod
    def _too_many() -> Answer:
        return Answer(429, {"status": "error", "message": "Too many requests"}, error="429")

    # Sending

    def _send_content(self, call: Call, account: Account) -> Answer:
        fields = call.request.fields
        person = self._subscriber(call)
        content = _checked_content(fields.get("data"))
        messages: list[dict[str, Any]] = content["messages"]
        tag = fields.get("message_tag")
        if tag is not None and tag not in TAGS:
            raise Refused(f"message_tag: {tag} is not one of {sorted(TAGS)}")
        self._check_window(person, tag)
        detail: dict[str, Any] = {"subscriber": subscriber_of(person.id), "tag": tag}
        if content.get("type") != "instagram":
            detail["sent_as"] = "messenger"
            self._world.add_line(
                account.id,
                person.id,
                direction="out",
                route="messenger",
                kind="message",
                text=call.text,
            )
            return Answer(200, {"status": "success"}, contact=person.id, detail=detail)
        if any(len(str(m.get("text", "")).encode("utf-8", "replace")) > MAX_TEXT_BYTES for m in messages):
            raise Refused(f"Instagram refused the message: above {MAX_TEXT_BYTES} bytes", CHANNEL_FAILED)
        for action in content.get("actions") or []:
            self._act(person, action)
        updates: list[Update] = []
        message_ids: list[str] = []
        for message in messages:
            kinds = [] if message["type"] == "text" else [_as_attachment(str(message["type"]))]
            sent = self._world.deliver(person, route="manychat", kind="message", text=_words_of(message))
            message_ids.append(sent.id)
            updates += echoes.of_message(self._world, sent, attachments=kinds)
        return Answer(
            200,
            {"status": "success"},
            effect=True,
            message_id=message_ids[0],
            contact=person.id,
            detail={**detail, "message_ids": message_ids},
            updates=tuple(updates),
        )

    def _send_flow(self, call: Call, account: Account) -> Answer:  # noqa: ARG002 - every act has this signature
        flow = call.request.fields.get("flow_ns")
        person = self._subscriber(call)
        if not isinstance(flow, str) or not flow:
            raise Refused("flow_ns: a flow's name is needed")
        now = self._world.now()
        if not self._rates.allows("flow", person.id, limit=_FLOW_LIMIT_AN_HOUR, seconds=3600.0, now=now):
            return self._too_many()
        self._check_window(person, None)
        sent = self._world.deliver(person, route="manychat", kind="flow", text=f"[{flow}]")
        return Answer(
            200,
            {"status": "success"},
            effect=True,
            message_id=sent.id,
            contact=person.id,
            updates=echoes.of_message(self._world, sent),
        )

    def _check_window(self, person: Person, tag: str | None) -> None:
        if person.unavailable or person.missing or person.owned_by_other_app:
            raise Refused("Instagram did not take the message", CHANNEL_FAILED)
        now = self._world.now()
        if person.window_is_open(now):
            return
        if tag is None:
            raise Refused("The last interaction is more than 24 hours ago: a message tag is needed", NO_TAG)
        if tag != "HUMAN_AGENT" or not person.window_is_open(now, HUMAN_WINDOW_SECONDS):
            raise Refused(f"Instagram refused the tag {tag}", CHANNEL_FAILED)

    # Subscribers

    def _subscriber(self, call: Call) -> Person:
        value = call.request.parameters.get("subscriber_id")
        number = _whole(value)
        if number is None:
            raise Refused("subscriber_id: a whole number is needed")
        if call.request.method == "POST" and not isinstance(value, int):
            raise Refused("subscriber_id: must be an integer, not a text")
        person = self._world.person_by_subscriber(number, call.account)
        if person is None or not person.subscriber:
            raise Refused("subscriber_id: there is no such subscriber")
        return person

    def _get_info(self, call: Call, account: Account) -> Answer:
        return _success(self._told(self._subscriber(call), account))

    def _find_by_custom_field(self, call: Call, account: Account) -> Answer:
        query = call.request.query
        field_id, value = query.get("field_id", ""), query.get("field_value", "")
        if not field_id.isdigit():
            raise Refused("field_id: a whole number is needed")
        if not value:
            raise Refused("field_value: a value is needed")
        if field_id == self._igsid_field_id or _IGSID.match(value):
            people = [self._world.person(account.id, value)]
        else:
            people = [
                person
                for person in self._world.people.values()
                if person.account == account.id and str(person.custom_fields.get(field_id, "")) == value
            ]
        return _success([self._told(person, account) for person in people if person.subscriber][:100])

    def _find_by_system_field(self, call: Call, account: Account) -> Answer:
        query = call.request.query
        wanted = {name: query[name] for name in ("email", "phone") if query.get(name)}
        if len(wanted) != 1:
            raise Refused("Give email or phone, one of them")
        ((name, value),) = wanted.items()
        for person in self._world.people.values():
            if person.account == account.id and person.subscriber and getattr(person, name) == value:
                return _success(self._told(person, account))
        return _success([])

    def _find_by_name(self, call: Call, account: Account) -> Answer:
        name = call.request.query.get("name", "")
        if not name:
            raise Refused("name: a name is needed")
        people = [p for p in self._world.people.values() if p.account == account.id and p.name == name]
        return _success([self._told(person, account) for person in people if person.subscriber][:100])

    def _set_custom_field(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self._subscriber(call)
        self._set_field(person, call.request.fields)
        return Answer(200, {"status": "success"}, effect=True, contact=person.id)

    def _set_custom_fields(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self._subscriber(call)
        listed = call.request.fields.get("fields")
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_CUSTOM_FIELDS:
            raise Refused(f"fields: between 1 and {MAX_CUSTOM_FIELDS} are needed")
        for field in listed:
            self._set_field(person, field if isinstance(field, dict) else {})
        return Answer(200, {"status": "success"}, effect=True, contact=person.id)

    @staticmethod
    def _set_field(person: Person, field: dict[str, Any]) -> None:
        name = field.get("field_id", field.get("field_name"))
        if name is None or "field_value" not in field:
            raise Refused("field_id or field_name, and field_value, are needed")
        person.custom_fields[str(name)] = field["field_value"]

    def _tag(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self._subscriber(call)
        fields = call.request.fields
        tag = fields.get("tag_name", fields.get("tag_id"))
        if tag is None:
            raise Refused("tag_id or tag_name is needed")
        action = "add_tag" if call.kind.startswith("addTag") else "remove_tag"
        self._act(person, {"action": action, "tag_name": str(tag)})
        return Answer(200, {"status": "success"}, effect=True, contact=person.id)

    @staticmethod
    def _act(person: Person, action: dict[str, Any]) -> None:
        kind = action.get("action")
        if kind not in ACTIONS:
            raise Refused(f"actions: {kind} is none of {sorted(ACTIONS)}")
        tag = str(action.get("tag_name", ""))
        field = str(action.get("field_name", ""))
        if kind == "add_tag" and tag not in person.tags:
            person.tags.append(tag)
        elif kind == "remove_tag" and tag in person.tags:
            person.tags.remove(tag)
        elif kind == "set_field_value":
            person.custom_fields[field] = action.get("value")
        elif kind == "unset_field_value":
            person.custom_fields.pop(field, None)

    def _create_subscriber(self, call: Call, account: Account) -> Answer:
        fields = call.request.fields
        if not fields.get("phone") and not fields.get("email"):
            raise Refused("phone or email is needed")
        person = self._world.person(account.id, self._world.ids.contact())
        self._describe_person(person, fields)
        return replace(_success(self._told(person, account)), effect=True, contact=person.id)

    def _update_subscriber(self, call: Call, account: Account) -> Answer:
        person = self._subscriber(call)
        self._describe_person(person, call.request.fields)
        return replace(_success(self._told(person, account)), effect=True, contact=person.id)

    @staticmethod
    def _describe_person(person: Person, fields: dict[str, Any]) -> None:
        person.phone = str(fields.get("phone") or person.phone)
        person.email = str(fields.get("email") or person.email)
        names = [str(fields[name]) for name in ("first_name", "last_name") if fields.get(name)]
        person.name = " ".join(names) or person.name

    def _told(self, person: Person, account: Account) -> dict[str, Any]:
        first, _, last = person.name.partition(" ")
        last_at = person.last_message if person.last_message is not None else self._world.now()
        named = {self._igsid_field_id: person.id, **person.custom_fields}
        return {
            "id": str(subscriber_of(person.id)),
            "page_id": account.page_id or self._page_of(account),
            "status": "active",
            "first_name": first,
            "last_name": last,
            "name": person.name,
            "gender": None,
            "profile_pic": None,
            "locale": None,
            "language": None,
            "timezone": "UTC+03",
            "subscribed": _time(last_at - WINDOW_SECONDS),
            "last_interaction": _time(last_at),
            "ig_last_interaction": _time(last_at),
            "last_input_text": None,
            "email": person.email or None,
            "phone": person.phone or None,
            "ig_username": person.username,
            "ig_id": int(person.id) if person.id.isdigit() else None,
            "custom_fields": [
                {"id": _whole(name) or 0, "name": name, "type": _kind_of(value), "value": value}
                for name, value in named.items()
            ],
            "tags": [{"id": number, "name": tag} for number, tag in enumerate(person.tags, 1)],
        }

    # The page

    @staticmethod
    def _page_of(account: Account) -> str:
        return f"10{account.id[-13:]}"

    def _page_info(self, call: Call, account: Account) -> Answer:
        page = call.request.bearer.partition(":")[0]
        return _success(
            {
                "id": int(page),
                "name": account.username,
                "category": "Shopping & retail",
                "avatar_link": None,
                "username": account.username,
                "about": "",
                "description": "",
                "is_pro": True,
                "timezone": "Asia/Baghdad",
            }
        )

    def _page_tags(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        names = sorted({tag for person in self._world.people.values() for tag in person.tags})
        return _success([{"id": number, "name": name} for number, name in enumerate(names, 1)])

    def _page_custom_fields(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        field = {"id": _whole(self._igsid_field_id) or 0, "name": "igsid", "type": "text", "description": ""}
        return _success([field])

    def _page_flows(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        return _success({"flows": [{"ns": "content20260101000000_000001", "name": "Welcome", "folder_id": 0}]})


def _success(data: Any) -> Answer:
    return Answer(200, {"status": "success", "data": data})


def _refusal(message: str, code: int | None) -> Answer:
    if code is not None:
        return Answer(400, {"status": "error", "message": message, "code": code}, error=str(code))
    details = {"messages": [{"message": message}]}
    body = {"status": "error", "message": "Validation error", "details": details}
    return Answer(400, body, error="validation")


def _checked_content(data: Any) -> dict[str, Any]:
    """Return the content, or raise what is wrong with it."""
    if not isinstance(data, dict):
        raise Refused("data: an object is needed")
    if data.get("version") != "v2":
        raise Refused("data.version: must be v2")
    content = data.get("content")
    if not isinstance(content, dict):
        raise Refused("data.content: an object is needed")
    messages = content.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise Refused(f"data.content.messages: between 1 and {MAX_MESSAGES} are needed")
    for message in messages:
        _check_message(message)
    for name, most in (("actions", MAX_ACTIONS), ("quick_replies", MAX_QUICK_REPLIES)):
        listed = content.get(name) or []
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise Refused(f"data.content.{name}: a list of objects is needed")
        if len(listed) > most:
            raise Refused(f"data.content.{name}: at most {most}")
    return content


def _check_message(message: Any) -> None:
    kind = message.get("type") if isinstance(message, dict) else None
    if kind not in MESSAGE_KINDS:
        raise Refused(f"data.content.messages.type: {kind} is none of {sorted(MESSAGE_KINDS)}")
    text = message.get("text")
    if kind == "text" and (not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT_CHARACTERS):
        raise Refused(f"data.content.messages.text: between 1 and {MAX_TEXT_CHARACTERS} characters")
    if kind == "image" and not message.get("url"):
        raise Refused("data.content.messages.url: an image needs one")
    if kind == "cards" and not isinstance(message.get("elements"), list):
        raise Refused("data.content.messages.elements: cards need a list")


def _words(parameters: dict[str, Any]) -> str:
    """Return what the customer would read, of a request not yet checked."""
    data = parameters.get("data")
    content = data.get("content") if isinstance(data, dict) else None
    messages = content.get("messages") if isinstance(content, dict) else None
    if not isinstance(messages, list):
        return ""
    return "\n".join(_words_of(message) for message in messages if isinstance(message, dict))


def _words_of(message: dict[str, Any]) -> str:
    text = message.get("text")
    return text if isinstance(text, str) else f"[{message.get('type', '?')}]"


def _as_attachment(kind: str) -> str:
    return "template" if kind == "cards" else kind


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
