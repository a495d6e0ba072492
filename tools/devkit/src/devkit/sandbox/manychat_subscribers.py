"""The part of ManyChat's public API that is about subscribers: finding them, their fields and tags.

A subscriber is a customer under ManyChat's own number. Here the number follows from the Instagram-scoped id by a
fixed calculation, so that a lookup finds anybody, unless they were declared not to be a subscriber, or not to be
linked yet: then nothing finds them by that id until somebody has written it into the field.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from devkit.sandbox.calls import Answer, Call
from devkit.sandbox.manychat_answers import Refused, success, whole
from devkit.sandbox.world import WINDOW_SECONDS, Account, Person, World, subscriber_of

MAX_CUSTOM_FIELDS = 20
ACTIONS = frozenset({"add_tag", "remove_tag", "set_field_value", "unset_field_value"})

_IGSID = re.compile(r"^\d{15,17}$")


class SubscriberActs:
    """What can be asked about subscribers, and told of them."""

    def __init__(self, world: World, *, igsid_field_id: str) -> None:
        self._world = world
        self._igsid_field_id = igsid_field_id
        self.acts: dict[tuple[str, str], Callable[[Call, Account], Answer]] = {
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
        }

    def subscriber(self, call: Call) -> Person:
        """Return whom a call is about. Raises Refused."""
        value = call.request.parameters.get("subscriber_id")
        number = whole(value)
        if number is None:
            raise Refused("subscriber_id: a whole number is needed")
        if call.request.method == "POST" and not isinstance(value, int):
            raise Refused("subscriber_id: must be an integer, not a text")
        person = self._world.person_by_subscriber(number, call.account)
        if person is None or not person.subscriber:
            raise Refused("subscriber_id: there is no such subscriber")
        return person

    def _get_info(self, call: Call, account: Account) -> Answer:
        return success(self._told(self.subscriber(call), account))

    def _find_by_custom_field(self, call: Call, account: Account) -> Answer:
        query = call.request.query
        field_id, value = query.get("field_id", ""), query.get("field_value", "")
        if not field_id.isdigit():
            raise Refused("field_id: a whole number is needed")
        if not value:
            raise Refused("field_value: a value is needed")
        person = self._world.person(account.id, value) if _IGSID.match(value) else None
        if person is not None and person.linked:
            people = [person]
        elif field_id == self._igsid_field_id and person is None:
            people = [self._world.person(account.id, value)]
        else:
            people = [
                person
                for person in self._world.people.values()
                if person.account == account.id and str(person.custom_fields.get(field_id, "")) == value
            ]
        return success([self._told(person, account) for person in people if person.subscriber][:100])

    def _find_by_system_field(self, call: Call, account: Account) -> Answer:
        query = call.request.query
        wanted = {name: query[name] for name in ("email", "phone") if query.get(name)}
        if len(wanted) != 1:
            raise Refused("Give email or phone, one of them")
        ((name, value),) = wanted.items()
        for person in self._world.people.values():
            if person.account == account.id and person.subscriber and getattr(person, name) == value:
                return success(self._told(person, account))
        return success([])

    def _find_by_name(self, call: Call, account: Account) -> Answer:
        name = call.request.query.get("name", "")
        if not name:
            raise Refused("name: a name is needed")
        people = [p for p in self._world.people.values() if p.account == account.id and p.name == name]
        return success([self._told(person, account) for person in people if person.subscriber][:100])

    def _set_custom_field(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self.subscriber(call)
        self._set_field(person, call.request.fields)
        return Answer(200, {"status": "success"}, effect=True, contact=person.id)

    def _set_custom_fields(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self.subscriber(call)
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
        if field["field_value"] is None:
            person.custom_fields.pop(str(name), None)
        else:
            person.custom_fields[str(name)] = field["field_value"]

    def _tag(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        person = self.subscriber(call)
        fields = call.request.fields
        tag = fields.get("tag_name", fields.get("tag_id"))
        if tag is None:
            raise Refused("tag_id or tag_name is needed")
        action = "add_tag" if call.kind.startswith("addTag") else "remove_tag"
        self.act(person, {"action": action, "tag_name": str(tag)})
        return Answer(200, {"status": "success"}, effect=True, contact=person.id)

    @staticmethod
    def act(person: Person, action: dict[str, Any]) -> None:
        """Change a tag or a field, as content may order. Raises Refused."""
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
        return replace(success(self._told(person, account)), effect=True, contact=person.id)

    def _update_subscriber(self, call: Call, account: Account) -> Answer:
        person = self.subscriber(call)
        self._describe_person(person, call.request.fields)
        return replace(success(self._told(person, account)), effect=True, contact=person.id)

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
            "page_id": account.page_id or page_of(account),
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
                {"id": whole(name) or 0, "name": name, "type": _kind_of(value), "value": value}
                for name, value in named.items()
            ],
            "tags": [{"id": number, "name": tag} for number, tag in enumerate(person.tags, 1)],
        }


def page_of(account: Account) -> str:
    """Return the page of an account for which none was registered."""
    return f"10{account.id[-13:]}"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
