"""Instagram's Graph API, as far as Jawab uses it: sending, comments, profiles, reading back, subscriptions, tokens.

Any version segment is accepted, and none. What is unknown to the sandbox is taken to be in order; what it knows is
judged as the platform judges it. Codes and statuses are the platform's; the sentences are ours, because nothing may
depend on them.
"""

import json

from devkit.sandbox.accounts import AccountActs
from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.graph_comments import CommentActs
from devkit.sandbox.graph_content import text_of
from devkit.sandbox.graph_errors import GraphErrors
from devkit.sandbox.graph_fields import parts_of
from devkit.sandbox.graph_messages import MessageActs
from devkit.sandbox.graph_reading import ReadingActs
from devkit.sandbox.rates import Rates
from devkit.sandbox.world import World


class GraphRoom:
    """Instagram, for those who hold an account's token."""

    api = "graph"

    def __init__(self, world: World, rates: Rates) -> None:
        self._world = world
        self._calls = 0
        self._errors = GraphErrors(world)
        self._about_accounts = AccountActs(world, self._errors)
        self._acts = {
            **MessageActs(world, rates, self._errors).acts,
            **CommentActs(world, self._errors).acts,
            **ReadingActs(world, rates, self._errors).acts,
            **self._about_accounts.acts,
        }

    # Understanding

    def describe(self, request: Request) -> Call:
        """Tell by path, method and body what is asked and about whom."""
        parts = parts_of(request.path)
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
            text = text_of(message) if isinstance(message, dict) else str(parameters.get("sender_action", ""))
        elif kind == "comment_reply":
            contact, text = self._known_commenter(head), str(parameters.get("message", ""))
        elif kind == "mention_reply":
            contact = self._known_commenter(str(parameters.get("comment_id", "")))
            text = str(parameters.get("message", ""))
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
            ("POST", "mentions"): "mention_reply",
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
            "mention_reply",
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
            return self._errors(190, None, "A token is needed: Authorization: Bearer <token>")
        account = self._world.account(call.account)
        problem = self._about_accounts.problem(call.request, token, account)
        if problem is not None:
            return problem
        act = self._acts.get(call.kind)
        if act is None:
            return self._errors(2500, None, f"Unknown path components: {call.request.path}", status=400)
        if call.request.invalid:
            return self._errors.bad(call.request.invalid)
        return act(call, account)

    def fail(self, call: Call, fault: FaultRule) -> Answer:
        """Give the ordered failure as the Graph API would word it."""
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        code, status = {"rate_limited": (613, 429), "server_error": (2, 500)}.get(fault.behaviour, (1, None))
        answer = self._errors(
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

    def _usage(self, account: str) -> dict[str, str]:
        """Return the usage headers; figures rise slowly with the calls made, to where nobody need slow down yet.

        Higher ones are ordered (`headers` of a fault): a load test is not about them.
        """
        share = min(60, self._calls // 5000)
        app = {"call_count": share, "total_cputime": share // 2, "total_time": share // 2}
        business = {account or "0": [{"type": "instagram", **app, "estimated_time_to_regain_access": 0}]}
        return {"X-App-Usage": json.dumps(app), "X-Business-Use-Case-Usage": json.dumps(business)}


def _token(request: Request) -> str:
    return request.bearer or str(request.parameters.get("access_token", ""))
