"""The part of the Graph API that goes into a person's thread: messages, private replies, sender actions, reactions."""

from collections.abc import Mapping
from typing import Any

from devkit.sandbox import echoes
from devkit.sandbox.calls import Answer, Call
from devkit.sandbox.graph_content import kinds_of, problem_of
from devkit.sandbox.graph_errors import GraphErrors
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import (
    HUMAN_WINDOW_SECONDS,
    PRIVATE_REPLY_SECONDS,
    WINDOW_SECONDS,
    Account,
    Message,
    Person,
    World,
)

SENDER_ACTIONS = frozenset({"typing_on", "typing_off", "mark_seen", "react", "unreact"})


class MessageActs:
    """What can be sent to a person."""

    def __init__(self, world: World, rates: Rates, errors: GraphErrors) -> None:
        self._world = world
        self._rates = rates
        self._errors = errors
        self.acts = {
            "message": self._message,
            "sender_action": self._sender_action,
            "private_reply": self._private_reply,
        }

    def _message(self, call: Call, account: Account) -> Answer:
        parameters = call.request.parameters
        recipient, message = parameters.get("recipient"), parameters.get("message")
        if not call.contact or not isinstance(recipient, dict):
            return self._errors.bad("The parameter recipient.id is required")
        if not isinstance(message, dict):
            return self._errors.bad("The parameter message is required")
        problem = problem_of(message)
        if problem:
            return self._errors.bad(problem, 2534015)
        person = self._world.person(account.id, call.contact)
        refusal = self._refusal(person, parameters)
        if refusal is not None:
            return refusal
        heavy = not {"video", "audio"}.isdisjoint(kinds_of(message))
        limit, what = (10.0, "send_media") if heavy else (100.0, "send")
        if not self._rates.allows(what, account.id, limit=limit, seconds=1.0, now=self._world.now()):
            return self._errors(613, None, status=400)
        kinds = kinds_of(message)
        sent = self._world.deliver(person, route="graph", kind="message", text=call.text, kinds=kinds)
        return self._sent(sent, message, detail=_said_about(parameters))

    def _private_reply(self, call: Call, account: Account) -> Answer:
        parameters = call.request.parameters
        message = parameters.get("message")
        if not isinstance(message, dict):
            return self._errors.bad("The parameter message is required")
        problem = problem_of(message)
        if problem:
            return self._errors.bad(problem, 2534015)
        comment = self._world.comment(str(parameters["recipient"]["comment_id"]), account.id)
        now = self._world.now()
        late = comment.created is not None and now - comment.created > PRIVATE_REPLY_SECONDS
        if comment.deleted or comment.privately_replied or late or comment.account != account.id:
            return self._errors.bad("This comment cannot be answered privately", 2534025)
        person = self._world.person(account.id, comment.contact)
        if person.unavailable:
            return self._errors(551, 1545041)
        if not self._rates.allows("private_reply", account.id, limit=750.0, seconds=3600.0, now=now):
            return self._errors(613, None)
        comment.privately_replied = True
        sent = self._world.deliver(person, route="graph", kind="private_reply", text=call.text, comment=comment.id)
        return self._sent(sent, message, detail={"comment": comment.id, **_said_about(parameters)})

    def _sent(self, sent: Message, message: dict[str, Any], *, detail: Mapping[str, Any]) -> Answer:
        metadata = message.get("metadata")
        updates = echoes.of_message(
            self._world,
            sent,
            attachments=sent.kinds,
            metadata=metadata if isinstance(metadata, str) else None,
        )
        body = {"recipient_id": sent.contact, "message_id": sent.id}
        return Answer(
            200,
            body,
            effect=True,
            message_id=sent.id,
            contact=sent.contact,
            detail=detail,
            updates=updates,
        )

    def _sender_action(self, call: Call, account: Account) -> Answer:
        parameters = call.request.parameters
        action = parameters.get("sender_action")
        if action not in SENDER_ACTIONS:
            return self._errors.bad(f"The parameter sender_action is none of {sorted(SENDER_ACTIONS)}")
        if "message" in parameters:
            return self._errors.bad("A sender_action goes alone, without a message")
        if not call.contact:
            return self._errors.bad("The parameter recipient.id is required")
        reacted: dict[str, Any] = {}
        if action in {"react", "unreact"}:
            payload = parameters.get("payload")
            if not isinstance(payload, dict) or not payload.get("message_id"):
                return self._errors.bad("The parameter payload.message_id is required")
            if action == "react" and not payload.get("reaction"):
                return self._errors.bad("The parameter payload.reaction is required")
            reacted = {name: payload[name] for name in ("message_id", "reaction") if name in payload}
        refusal = self._refusal(self._world.person(account.id, call.contact), parameters)
        if refusal is not None:
            return refusal
        return Answer(200, {"recipient_id": call.contact}, effect=True, detail={"action": action, **reacted})

    def _refusal(self, person: Person, parameters: dict[str, Any]) -> Answer | None:
        if person.missing:
            return self._errors.bad("There is no such user", 2534014)
        if person.unavailable:
            return self._errors(551, 1545041)
        if person.owned_by_other_app:
            return self._errors(10, 2018300)
        tag = parameters.get("tag")
        if tag is not None and tag != "HUMAN_AGENT":
            return self._errors.bad(f"The tag {tag} is no longer supported")
        seconds = WINDOW_SECONDS if tag is None else HUMAN_WINDOW_SECONDS
        if not person.window_is_open(self._world.now(), seconds):
            return self._errors(10, 2534022)
        return None


def _said_about(parameters: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {key: parameters[key] for key in ("messaging_type", "tag") if key in parameters}
    message = parameters.get("message")
    if isinstance(message, dict) and "metadata" in message:
        said["metadata"] = message["metadata"]
    return said
