"""Instagram's Graph API, as far as Jawab uses it: sending, comments, profiles, reading back, subscriptions, tokens.

Any version segment is accepted, and none. What is unknown to the sandbox is taken to be in order; what it knows is
judged as the platform judges it. Codes and statuses are the platform's; the sentences are ours, because nothing may
depend on them.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devkit.sandbox import echoes
from devkit.sandbox.accounts import AccountActs
from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.graph_fields import parse_fields, pick
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import (
    HUMAN_WINDOW_SECONDS,
    PRIVATE_REPLY_SECONDS,
    WINDOW_SECONDS,
    Account,
    Comment,
    Message,
    Person,
    World,
)

MAX_TEXT_BYTES = 1000
MAX_ATTACHMENTS = 10
MAX_QUICK_REPLIES = 13
MAX_QUICK_REPLY_TITLE = 20
MEDIA_KINDS = frozenset({"image", "video", "audio", "file"})
ATTACHMENT_KINDS = MEDIA_KINDS | {"like_heart", "MEDIA_SHARE", "template"}
SENDER_ACTIONS = frozenset({"typing_on", "typing_off", "mark_seen", "react", "unreact"})
PROFILE_FIELDS = (
    "name",
    "username",
    "profile_pic",
    "follower_count",
    "is_user_follow_business",
    "is_business_follow_user",
    "is_verified_user",
)

_VERSION = re.compile(r"^/v\d+(?:\.\d+)?(?=/|$)")

# (code, subcode): (HTTP status, sentence)
_KNOWN_ERRORS: dict[tuple[int, int | None], tuple[int, str]] = {
    (1, None): (500, "An unknown error occurred"),
    (1, 1357046): (500, "The messages were sent, but the request ended in an error"),
    (2, None): (500, "The service is not available for the moment"),
    (4, None): (400, "(#4) The app has reached its request limit"),
    (10, 2534022): (403, "The message falls outside of the allowed window"),
    (10, 2018300): (400, "(#10) Another app controls this conversation now"),
    (32, None): (400, "(#32) The page has reached its request limit"),
    (190, None): (400, "The access token could not be validated"),
    (230, None): (403, "(#230) The person has not agreed to share their profile"),
    (368, None): (400, "The action is temporarily blocked for a breach of policy"),
    (551, 1545041): (400, "(#551) This person cannot be reached right now"),
    (613, None): (400, "(#613) Calls to this interface have exceeded their rate"),
    (9010, None): (401, "There is no Instagram user of that id"),
    (80001, None): (400, "(#80001) Too many calls to this account"),
    (80002, None): (400, "(#80002) Too many calls to this Instagram account"),
}


class GraphRoom:
    """Instagram, for those who hold an account's token."""

    api = "graph"

    def __init__(self, world: World, rates: Rates) -> None:
        self._world = world
        self._rates = rates
        self._calls = 0
        self._about_accounts = AccountActs(world, self.error)
        self._acts = {
            "message": self._message,
            "sender_action": self._sender_action,
            "private_reply": self._private_reply,
            "comment_reply": self._comment_reply,
            "comment_replies": self._comment_replies,
            "comment": self._comment,
            "hide": self._hide,
            "delete": self._delete,
            "profile": self._profile,
            "conversations": self._conversations,
            "thread": self._thread,
            "thread_message": self._thread_message,
            **self._about_accounts.acts,
        }

    # Understanding

    def describe(self, request: Request) -> Call:
        """Tell by path, method and body what is asked and about whom."""
        parts = [part for part in _VERSION.sub("", request.path).split("/") if part]
        head, edge = (parts[0] if parts else ""), (parts[1] if len(parts) > 1 else "")
        kind = self._kind(request, head, edge) if len(parts) in {1, 2} else "unknown"
        parameters = request.parameters
        contact = text = ""
        account = self._account_at(head, kind, request)
        if kind in {"message", "sender_action", "private_reply"}:
            recipient, message = parameters.get("recipient"), parameters.get("message")
            if isinstance(recipient, dict):
                contact = str(recipient.get("id", ""))
                if kind == "private_reply":
                    contact = self._known_commenter(str(recipient["comment_id"]))
            text = _text_of(message) if isinstance(message, dict) else str(parameters.get("sender_action", ""))
        elif kind == "comment_reply":
            contact, text = self._known_commenter(head), str(parameters.get("message", ""))
        elif kind == "profile":
            contact = head
        elif kind == "conversations":
            contact = request.query.get("user_id", "")
        elif kind in {"hide", "delete", "comment", "comment_replies"}:
            contact = self._known_commenter(head)
        return Call(self.api, kind, request, account=account, contact=contact, text=text)

    def _kind(self, request: Request, head: str, edge: str) -> str:
        if edge:
            return self._edge_kind(request, edge)
        if request.method == "POST":
            return "hide" if "hide" in request.parameters else "unknown"
        if request.method == "DELETE":
            return "delete"
        if head in {"access_token", "refresh_access_token"}:
            return "token_exchange" if head == "access_token" else "token_refresh"
        if head == "me" or head in self._world.accounts:
            return "account"
        if head in self._world.comments:
            return "comment"
        if self._world.conversation_by_thread(head) is not None:
            return "thread"
        return "profile" if head.isdigit() else "thread_message"

    @staticmethod
    def _edge_kind(request: Request, edge: str) -> str:
        kinds = {
            ("POST", "replies"): "comment_reply",
            ("GET", "replies"): "comment_replies",
            ("GET", "conversations"): "conversations",
            ("GET", "permissions"): "permissions",
            ("GET", "subscribed_apps"): "subscriptions",
            ("POST", "subscribed_apps"): "subscribe",
            ("DELETE", "subscribed_apps"): "unsubscribe",
        }
        if (request.method, edge) == ("POST", "messages"):
            recipient = request.parameters.get("recipient")
            if isinstance(recipient, dict) and "comment_id" in recipient:
                return "private_reply"
            return "sender_action" if "sender_action" in request.parameters else "message"
        return kinds.get((request.method, edge), "unknown")

    def _account_at(self, head: str, kind: str, request: Request) -> str:
        by_id = {
            "message",
            "sender_action",
            "private_reply",
            "conversations",
            "subscriptions",
            "subscribe",
            "unsubscribe",
            "account",
        }
        if kind in by_id and head != "me":
            return head
        registered = self._world.account_by_token(_token(request))
        if registered is not None:
            return registered.id
        if head in self._world.comments:
            return self._world.comments[head].account
        message = self._world.messages.get(head)
        if message is not None:
            return message.account
        return self._world.account_of(head) if kind == "profile" else self._world.default_account

    def _known_commenter(self, comment_id: str) -> str:
        comment = self._world.comments.get(comment_id)
        return "" if comment is None else comment.contact

    # Doing

    def perform(self, call: Call) -> Answer:
        """Do what is asked, or refuse it with the platform's code."""
        self._calls += 1
        answer = self._judge(call)
        return Answer(
            answer.status,
            answer.body,
            {**self._usage(call.account), **answer.headers},
            answer.effect,
            answer.error,
            answer.message_id,
            answer.contact,
            answer.detail,
            answer.updates,
        )

    def _judge(self, call: Call) -> Answer:
        token = _token(call.request)
        if not token:
            return self.error(190, None, "A token is needed: Authorization: Bearer <token>")
        account = self._world.account(call.account)
        problem = self._about_accounts.problem(call.request, token, account)
        if problem is not None:
            return problem
        act = self._acts.get(call.kind)
        if act is None:
            return self.error(2500, None, f"Unknown path components: {call.request.path}", status=400)
        if call.request.invalid:
            return self._bad(call.request.invalid)
        return act(call, account)

    def fail(self, call: Call, fault: FaultRule) -> Answer:
        """Give the ordered failure as the Graph API would word it."""
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        code, status = {"rate_limited": (613, 429), "server_error": (2, 500)}.get(fault.behaviour, (1, None))
        answer = self.error(
            fault.code if fault.code is not None else code,
            fault.subcode,
            fault.message,
            status=fault.status or status,
        )
        return Answer(
            answer.status,
            answer.body,
            {**self._usage(call.account), **headers},
            error=answer.error,
        )

    def error(self, code: int, subcode: int | None, message: str | None = None, *, status: int | None = None) -> Answer:
        """Return an error in the platform's shape; status and sentence default to those known for the code."""
        fallback = (400, f"(#{code}) The request was refused")
        known = _KNOWN_ERRORS.get((code, subcode)) or _KNOWN_ERRORS.get((code, None)) or fallback
        error: dict[str, Any] = {
            "message": message or known[1],
            "type": "IGApiException" if code in {9010, 2500} or subcode == 2534022 else "OAuthException",  # noqa: PLR2004
            "code": code,
        }
        if subcode is not None:
            error["error_subcode"] = subcode
        if code in {1, 2, 4, 32, 613, 80001, 80002}:
            error["is_transient"] = True
        error["fbtrace_id"] = self._world.ids.trace()
        name = str(code) if subcode is None else f"{code}/{subcode}"
        return Answer(status or known[0], {"error": error}, error=name)

    def _bad(self, message: str, subcode: int | None = None) -> Answer:
        return self.error(100, subcode, f"(#100) {message}")

    # Messages

    def _message(self, call: Call, account: Account) -> Answer:
        parameters = call.request.parameters
        recipient, message = parameters.get("recipient"), parameters.get("message")
        if not call.contact or not isinstance(recipient, dict):
            return self._bad("The parameter recipient.id is required")
        if not isinstance(message, dict):
            return self._bad("The parameter message is required")
        content = self._content(message)
        if isinstance(content, Answer):
            return content
        person = self._world.person(account.id, call.contact)
        refusal = self._refusal(person, parameters)
        if refusal is not None:
            return refusal
        heavy = bool(content) and content[0] in {"video", "audio"}
        limit, what = (10.0, "send_media") if heavy else (100.0, "send")
        if not self._rates.allows(what, account.id, limit=limit, seconds=1.0, now=self._world.now()):
            return self.error(613, None, status=400)
        sent = self._world.deliver(person, route="graph", kind="message", text=call.text)
        return self._sent(sent, message, content, detail=_said_about(parameters))

    def _private_reply(self, call: Call, account: Account) -> Answer:
        parameters = call.request.parameters
        message = parameters.get("message")
        if not isinstance(message, dict):
            return self._bad("The parameter message is required")
        content = self._content(message)
        if isinstance(content, Answer):
            return content
        comment = self._world.comment(str(parameters["recipient"]["comment_id"]), account.id)
        now = self._world.now()
        late = comment.created is not None and now - comment.created > PRIVATE_REPLY_SECONDS
        if comment.deleted or comment.privately_replied or late or comment.account != account.id:
            return self._bad("This comment cannot be answered privately", 2534025)
        person = self._world.person(account.id, comment.contact)
        if person.unavailable:
            return self.error(551, 1545041)
        if not self._rates.allows("private_reply", account.id, limit=750.0, seconds=3600.0, now=now):
            return self.error(613, None)
        comment.privately_replied = True
        sent = self._world.deliver(person, route="graph", kind="private_reply", text=call.text, comment=comment.id)
        return self._sent(sent, message, content, detail={"comment": comment.id, **_said_about(parameters)})

    def _sent(self, sent: Message, message: dict[str, Any], content: list[str], *, detail: Mapping[str, Any]) -> Answer:
        metadata = message.get("metadata")
        updates = echoes.of_message(
            self._world,
            sent,
            attachments=content,
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
            return self._bad(f"The parameter sender_action is none of {sorted(SENDER_ACTIONS)}")
        if "message" in parameters:
            return self._bad("A sender_action goes alone, without a message")
        if not call.contact:
            return self._bad("The parameter recipient.id is required")
        if action in {"react", "unreact"}:
            payload = parameters.get("payload")
            if not isinstance(payload, dict) or not payload.get("message_id"):
                return self._bad("The parameter payload.message_id is required")
        refusal = self._refusal(self._world.person(account.id, call.contact), parameters)
        if refusal is not None:
            return refusal
        return Answer(200, {"recipient_id": call.contact}, effect=True, detail={"action": action})

    def _refusal(self, person: Person, parameters: dict[str, Any]) -> Answer | None:
        if person.missing:
            return self._bad("There is no such user", 2534014)
        if person.unavailable:
            return self.error(551, 1545041)
        if person.owned_by_other_app:
            return self.error(10, 2018300)
        tag = parameters.get("tag")
        if tag is not None and tag != "HUMAN_AGENT":
            return self._bad(f"The tag {tag} is no longer supported")
        seconds = WINDOW_SECONDS if tag is None else HUMAN_WINDOW_SECONDS
        if not person.window_is_open(self._world.now(), seconds):
            return self.error(10, 2534022)
        return None

    def _content(self, message: dict[str, Any]) -> list[str] | Answer:
        """Return the kinds of the attachments (none for plain text), or what is wrong with the message."""
        text, attachments = message.get("text"), message.get("attachments")
        if attachments is None:
            attachments = [message["attachment"]] if "attachment" in message else []
        if not isinstance(attachments, list) or not all(isinstance(a, dict) for a in attachments):
            return self._bad("message.attachments must be a list of objects")
        problem = "" if text is None and attachments else _text_problem(text)
        if not problem and len(attachments) > MAX_ATTACHMENTS:
            problem = f"At most {MAX_ATTACHMENTS} attachments"
        problem = problem or next(filter(None, map(_attachment_problem, attachments)), "")
        if problem:
            return self._bad(problem, 2534015)
        if not _quick_replies_fit(message.get("quick_replies", [])):
            return self._bad(f"quick_replies: at most {MAX_QUICK_REPLIES}, titles of at most 20 characters")
        return [str(attachment["type"]) for attachment in attachments]

    # Comments

    def _comment_reply(self, call: Call, account: Account) -> Answer:
        if not call.text:
            return self._bad("The parameter message is required")
        comment = self._world.comment(_head(call), account.id)
        if comment.deleted or comment.account != account.id:
            return self._bad("There is no such comment", 33)
        if comment.hidden:
            return self._bad("A hidden comment cannot be answered")
        if comment.product == "LIVE":
            return self._bad("A live comment cannot be answered in public")
        top = self._world.comment(comment.parent, account.id) if comment.parent else comment
        reply = Comment(
            self._world.ids.comment(),
            account.id,
            account.id,
            text=call.text,
            created=self._world.now(),
            product=top.product,
            media=top.media,
            parent=top.id,
        )
        self._world.comments[reply.id] = reply
        top.replies.append(reply.id)
        self._world.add_line(
            account.id,
            comment.contact,
            direction="out",
            route="graph",
            kind="comment_reply",
            text=call.text,
            id_=reply.id,
            comment=comment.id,
        )
        return Answer(
            200,
            {"id": reply.id},
            effect=True,
            message_id=reply.id,
            contact=comment.contact,
            detail={"comment": comment.id},
            updates=echoes.of_comment(self._world, reply),
        )

    def _comment_replies(self, call: Call, account: Account) -> Answer:
        comment = self._world.comment(_head(call), account.id)
        fields = parse_fields(call.request.query.get("fields", ""))
        replies = [self._world.comments[id_] for id_ in comment.replies if id_ in self._world.comments]
        shown = [self._comment_body(reply, fields) for reply in replies if not reply.deleted]
        return Answer(200, {"data": shown})

    def _comment(self, call: Call, account: Account) -> Answer:
        comment = self._world.comment(_head(call), account.id)
        if comment.deleted:
            return self._bad("There is no such comment", 33)
        return Answer(200, self._comment_body(comment, parse_fields(call.request.query.get("fields", ""))))

    def _comment_body(self, comment: Comment, fields: dict[str, Any]) -> dict[str, Any]:
        person = self._world.person(comment.account, comment.contact)
        own = comment.contact == comment.account
        username = self._world.account(comment.account).username if own else person.username
        known = {
            "id": comment.id,
            "text": comment.text,
            "timestamp": _time(comment.created if comment.created is not None else self._world.now()),
            "username": username,
            "from": {"id": comment.contact, "username": username},
            "hidden": comment.hidden,
            "like_count": 0,
            "media": {"id": comment.media, "media_product_type": comment.product},
        }
        if comment.parent:
            known["parent_id"] = comment.parent
        return pick(known, fields, ("id", "text", "timestamp"))

    def _hide(self, call: Call, account: Account) -> Answer:
        wanted = str(call.request.parameters["hide"]).lower()
        if wanted not in {"true", "false"}:
            return self._bad("The parameter hide is true or false")
        comment = self._world.comment(_head(call), account.id)
        if comment.deleted:
            return self._bad("There is no such comment", 33)
        if comment.contact == account.id:
            return self._bad("Own comments cannot be hidden")
        comment.hidden = wanted == "true"
        return Answer(200, {"success": True}, effect=True, detail={"comment": comment.id, "hide": wanted})

    def _delete(self, call: Call, account: Account) -> Answer:
        comment = self._world.comment(_head(call), account.id)
        if comment.deleted:
            return self._bad("There is no such comment", 33)
        comment.deleted = True
        return Answer(200, {"success": True}, effect=True, detail={"comment": comment.id})

    # Reading

    def _profile(self, call: Call, account: Account) -> Answer:
        person = self._world.person(account.id, call.contact)
        if person.profile_error is not None:
            return self.error(person.profile_error, None)
        if person.missing:
            return self._bad("There is no such user", 33)
        fields = parse_fields(call.request.query.get("fields", ""))
        wrong = [name for name in fields if name not in {*PROFILE_FIELDS, "id"}]
        if wrong:
            return self._bad(f"Tried accessing nonexisting field ({wrong[0]})")
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
            return self.error(613, None)
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
                "updated_time": _time(conversation.lines[-1].time if conversation.lines else now),
            }
            if "messages" in fields:
                known["messages"] = self._messages(account.id, conversation.contact, fields["messages"])
            data.append(pick(known, fields, ("id", "updated_time")))
        return Answer(200, {"data": data})

    def _thread(self, call: Call, account: Account) -> Answer:
        conversation = self._world.conversation_by_thread(_head(call))
        if conversation is None or conversation.account != account.id:
            return self._bad("There is no such conversation", 33)
        fields = parse_fields(call.request.query.get("fields", ""))
        known = {
            "id": _head(call),
            "updated_time": _time(conversation.lines[-1].time),
            "messages": self._messages(account.id, conversation.contact, fields.get("messages", {})),
        }
        return Answer(200, pick(known, fields, ("id", "updated_time")))

    def _thread_message(self, call: Call, account: Account) -> Answer:
        message = self._world.messages.get(_head(call))
        if message is None or message.account != account.id:
            return self._bad("There is no such object, or the token may not read it", 33)
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
            "created_time": _time(message.created),
            "from": sender,
            "to": {"data": [receiver]},
            "message": message.text,
        }
        return pick(known, fields, ("id", "created_time"))

    def _usage(self, account: str) -> dict[str, str]:
        """Return the usage headers; figures rise slowly with the calls made, to where nobody need slow down yet.

        Higher ones are ordered (`headers` of a fault): a load test is not about them.
        """
        share = min(60, self._calls // 5000)
        app = {"call_count": share, "total_cputime": share // 2, "total_time": share // 2}
        business = {account or "0": [{"type": "instagram", **app, "estimated_time_to_regain_access": 0}]}
        return {"X-App-Usage": json.dumps(app), "X-Business-Use-Case-Usage": json.dumps(business)}


def _head(call: Call) -> str:
    return next(part for part in _VERSION.sub("", call.request.path).split("/") if part)


def _token(request: Request) -> str:
    return request.bearer or str(request.parameters.get("access_token", ""))


def _text_of(message: dict[str, Any]) -> str:
    text = message.get("text")
    if isinstance(text, str):
        return text
    attachments = message.get("attachments") or [message.get("attachment")]
    kinds = [str(a.get("type", "?")) for a in attachments if isinstance(a, dict)] if attachments else []
    return " ".join(f"[{kind}]" for kind in kinds)


def _said_about(parameters: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {key: parameters[key] for key in ("messaging_type", "tag") if key in parameters}
    message = parameters.get("message")
    if isinstance(message, dict) and "metadata" in message:
        said["metadata"] = message["metadata"]
    return said


def _text_problem(text: Any) -> str:
    if text is None:
        return "The message is empty: give text or an attachment"
    if not isinstance(text, str) or not text:
        return "message.text must be a text that is not empty"
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        return f"message.text is above {MAX_TEXT_BYTES} bytes"
    return ""


def _quick_replies_fit(quick_replies: Any) -> bool:
    return (
        isinstance(quick_replies, list)
        and len(quick_replies) <= MAX_QUICK_REPLIES
        and all(
            isinstance(reply, dict) and len(str(reply.get("title", ""))) <= MAX_QUICK_REPLY_TITLE
            for reply in quick_replies
        )
    )


def _attachment_problem(attachment: dict[str, Any]) -> str:
    kind = attachment.get("type")
    if kind not in ATTACHMENT_KINDS:
        return f"attachment.type is none of {sorted(ATTACHMENT_KINDS)}"
    payload = attachment.get("payload")
    if kind in MEDIA_KINDS and not (isinstance(payload, dict) and (payload.get("url") or payload.get("attachment_id"))):
        return f"attachment.payload.url is required for {kind}"
    return ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
