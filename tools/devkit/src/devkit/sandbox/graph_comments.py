"""The part of the Graph API that is about comments: answering, hiding and deleting them, and answering mentions."""

from typing import Any

from devkit.sandbox import echoes
from devkit.sandbox.calls import Answer, Call
from devkit.sandbox.graph_errors import GraphErrors
from devkit.sandbox.graph_fields import graph_time, head_of, parse_fields, pick
from devkit.sandbox.world import Account, Comment, World


class CommentActs:
    """What can be done in public."""

    def __init__(self, world: World, errors: GraphErrors) -> None:
        self._world = world
        self._errors = errors
        self.acts = {
            "comment_reply": self._comment_reply,
            "comment_replies": self._comment_replies,
            "comment": self._comment,
            "hide": self._hide,
            "delete": self._delete,
            "mention_reply": self._mention_reply,
        }

    def _comment_reply(self, call: Call, account: Account) -> Answer:
        if not call.text:
            return self._errors.bad("The parameter message is required")
        comment = self._world.comment(head_of(call), account.id)
        if comment.deleted or comment.account != account.id:
            return self._errors.bad("There is no such comment", 33)
        if comment.hidden:
            return self._errors.bad("A hidden comment cannot be answered")
        if comment.product == "LIVE":
            return self._errors.bad("A live comment cannot be answered in public")
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
        comment = self._world.comment(head_of(call), account.id)
        fields = parse_fields(call.request.query.get("fields", ""))
        replies = [self._world.comments[id_] for id_ in comment.replies if id_ in self._world.comments]
        shown = [self._comment_body(reply, fields) for reply in replies if not reply.deleted]
        return Answer(200, {"data": shown})

    def _comment(self, call: Call, account: Account) -> Answer:
        comment = self._world.comment(head_of(call), account.id)
        if comment.deleted:
            return self._errors.bad("There is no such comment", 33)
        return Answer(200, self._comment_body(comment, parse_fields(call.request.query.get("fields", ""))))

    def _comment_body(self, comment: Comment, fields: dict[str, Any]) -> dict[str, Any]:
        person = self._world.person(comment.account, comment.contact)
        own = comment.contact == comment.account
        account = self._world.account(comment.account)
        username = account.username if own else person.username
        author = account.comment_author_id if own else comment.contact
        known = {
            "id": comment.id,
            "text": comment.text,
            "timestamp": graph_time(comment.created if comment.created is not None else self._world.now()),
            "username": username,
            "from": {"id": author, "username": username},
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
            return self._errors.bad("The parameter hide is true or false")
        comment = self._world.comment(head_of(call), account.id)
        if comment.deleted:
            return self._errors.bad("There is no such comment", 33)
        if comment.contact == account.id:
            return self._errors.bad("Own comments cannot be hidden")
        comment.hidden = wanted == "true"
        return Answer(200, {"success": True}, effect=True, detail={"comment": comment.id, "hide": wanted})

    def _delete(self, call: Call, account: Account) -> Answer:
        comment = self._world.comment(head_of(call), account.id)
        if comment.deleted:
            return self._errors.bad("There is no such comment", 33)
        comment.deleted = True
        return Answer(200, {"success": True}, effect=True, detail={"comment": comment.id})

    def _mention_reply(self, call: Call, account: Account) -> Answer:
        """Comment under somebody else's media that mentions the account, or under the comment that does."""
        parameters = call.request.parameters
        media = str(parameters.get("media_id") or "")
        if not media:
            return self._errors.bad("The parameter media_id is required")
        if not call.text:
            return self._errors.bad("The parameter message is required")
        about = str(parameters.get("comment_id") or "")
        if about and self._world.comment(about, account.id).deleted:
            return self._errors.bad("There is no such comment", 33)
        reply = Comment(
            self._world.ids.comment(),
            account.id,
            account.id,
            text=call.text,
            created=self._world.now(),
            media=media,
            parent=about,
        )
        self._world.comments[reply.id] = reply
        detail = {"media": media, **({"comment": about} if about else {})}
        return Answer(200, {"id": reply.id}, effect=True, message_id=reply.id, contact=call.contact, detail=detail)
