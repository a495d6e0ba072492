"""ManyChat's public API, as far as Jawab uses it: sending content and flows; subscribers stand in their own module."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from devkit.sandbox import echoes
from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.manychat_answers import Refused, refusal, success, whole
from devkit.sandbox.manychat_content import checked_content, kinds_of, words, words_of
from devkit.sandbox.manychat_subscribers import SubscriberActs
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import HUMAN_WINDOW_SECONDS, Account, Person, World, subscriber_of
from devkit.updates import Update

MAX_TEXT_BYTES = 1000
TAGS = frozenset({"HUMAN_AGENT", "ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE"})

NO_TAG = 3011
CHANNEL_FAILED = 3041

_KEY = re.compile(r"^\d+:\S+$")

# Calls a second by method; sendFlow also has a limit by the hour and subscriber.
_OTHER = (
    *("getInfo", "findByCustomField", "findByName", "getFlows", "setCustomField", "setCustomFieldByName"),
    *("setCustomFields", "addTag", "addTagByName", "removeTag", "removeTagByName", "createSubscriber"),
    "updateSubscriber",
)
_LIMITS = {"sendContent": 25.0, "sendFlow": 20.0, **dict.fromkeys(_OTHER, 10.0)}
_FLOW_LIMIT_AN_HOUR = 100.0


class ManyChatRoom:
    """ManyChat, for those who hold a page's key."""

    api = "manychat"

    def __init__(self, world: World, rates: Rates, *, igsid_field_id: str) -> None:
        self._world = world
        self._rates = rates
        self._igsid_field_id = igsid_field_id
        self._subscribers = SubscriberActs(world, igsid_field_id=igsid_field_id)
        self._acts: dict[tuple[str, str], Callable[[Call, Account], Answer]] = {
            ("POST", "sending/sendContent"): self._send_content,
            ("POST", "sending/sendFlow"): self._send_flow,
            **self._subscribers.acts,
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
        number = whole(parameters.get("subscriber_id"))
        if number is not None:
            contact = self._world.contact_by_subscriber(number) or ""
        elif kind == "findByCustomField":
            contact = str(parameters.get("field_value", ""))
        account = registered.id if registered else self._world.account_of(contact)
        return Call(self.api, kind, request, account=account, contact=contact, text=words(parameters))

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
            return refusal(call.request.invalid, None)
        try:
            return act(call, self._world.account(call.account))
        except Refused as problem:
            return refusal(str(problem), problem.code)

    def fail(self, call: Call, fault: FaultRule) -> Answer:  # noqa: ARG002 - every room has this signature
        """Give the ordered failure as ManyChat words it."""
        if fault.behaviour == "manychat_error":
            answer = refusal(fault.message or "The content could not be sent", fault.code)
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
        person = self._subscribers.subscriber(call)
        content = checked_content(fields.get("data"))
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
            self._subscribers.act(person, action)
        updates: list[Update] = []
        message_ids: list[str] = []
        for message in messages:
            kinds = kinds_of(message)
            sent = self._world.deliver(person, route="manychat", kind="message", text=words_of(message), kinds=kinds)
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
        person = self._subscribers.subscriber(call)
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

    # The page

    def _page_info(self, call: Call, account: Account) -> Answer:
        page = call.request.bearer.partition(":")[0]
        return success(
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
        return success([{"id": number, "name": name} for number, name in enumerate(names, 1)])

    def _page_custom_fields(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        field = {"id": whole(self._igsid_field_id) or 0, "name": "igsid", "type": "text", "description": ""}
        return success([field])

    def _page_flows(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        return success({"flows": [{"ns": "content20260101000000_000001", "name": "Welcome", "folder_id": 0}]})
