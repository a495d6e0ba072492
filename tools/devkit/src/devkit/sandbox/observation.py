"""Learn from a webhook that passes through: who wrote, when, and which comment is whose.

Reading is lenient: the sandbox is no judge of bodies, and whatever it does not recognise teaches it nothing.
"""

from typing import Any

from devkit.sandbox.world import Comment, World

_OPENERS = ("message", "postback", "referral", "optin")
_MAGNITUDE_OF_MILLISECONDS = 1e11


def observe(world: World, body: Any) -> int:
    """Take in every item of a webhook body and return how many taught something."""
    learnt = 0
    for entry in _objects(body, "entry"):
        account = str(entry.get("id", ""))
        for section in ("messaging", "standby"):
            learnt += sum(_item(world, account, item) for item in _objects(entry, section))
        changes = _objects(entry, "changes")
        if "field" in entry:
            changes.append(entry)
        for change in changes:
            learnt += _change(world, account, change, entry.get("time"))
    return learnt


def _item(world: World, account: str, item: dict[str, Any]) -> bool:
    contact, account_side = _id(item.get("sender")), _id(item.get("recipient"))
    key = next((key for key in _OPENERS if isinstance(item.get(key), dict)), None)
    if key is None or not contact:
        return False
    value = item[key]
    if value.get("is_echo"):
        return _echo(world, contact, account_side, value)
    account = account if account not in {"", "0"} else account_side
    if not account or contact == account:
        return False
    if value.get("is_deleted"):
        world.add_line(account, contact, direction="in", route="webhook", kind="unsend", text="")
        return True
    kind, text = _said(key, value)
    at = _seconds(item.get("timestamp"), world.now())
    world.receive(account, contact, kind, text, id_=str(value.get("mid", "")), at=at)
    return True


def _echo(world: World, account: str, contact: str, value: dict[str, Any]) -> bool:
    if not account or not contact or str(value.get("mid")) in world.messages:
        return False
    _, text = _said("message", value)
    person = world.person(account, contact)
    world.add_line(account, person.id, direction="out", route="app", kind="echo", text=text)
    return True


def _said(key: str, value: dict[str, Any]) -> tuple[str, str]:
    if key == "postback":
        return "postback", str(value.get("title", ""))
    if key != "message":
        return key, ""
    kinds = [str(attachment.get("type", "")) for attachment in _objects(value, "attachments")]
    reply_to = value.get("reply_to")
    kind = kinds[0] if kinds else "message"
    if isinstance(reply_to, dict) and "story" in reply_to:
        kind = "story_reply"
    text = value.get("text")
    return kind, text if isinstance(text, str) else " ".join(f"[{kind}]" for kind in kinds)


def _change(world: World, account: str, change: dict[str, Any], time: Any) -> int:
    value = change.get("value")
    if not isinstance(value, dict):
        return 0
    name = change.get("field")
    if "sender" in value:
        return int(_item(world, account, value))
    if name == "messages":
        learnt = 0
        for message in _objects(value, "messages"):
            contact = _id(message.get("from"))
            if contact and account:
                at = _seconds(message.get("timestamp"), world.now())
                id_ = str(message.get("id", ""))
                world.receive(account, contact, "message", str(message.get("text", "")), id_=id_, at=at)
                learnt += 1
        return learnt
    if name in {"comments", "live_comments"}:
        listed = _objects(value, "comments") or [value]
        return sum(_comment(world, account, comment, str(name), time) for comment in listed)
    return 0


def _comment(world: World, account: str, value: dict[str, Any], name: str, time: Any) -> bool:
    id_ = str(value.get("id") or value.get("comment_id") or "")
    contact = _id(value.get("from"))
    if not id_ or not contact or not account:
        return False
    media = value.get("media") if isinstance(value.get("media"), dict) else {}
    product = "LIVE" if name == "live_comments" else str((media or {}).get("media_product_type", "FEED"))
    world.receive_comment(
        Comment(
            id_,
            account,
            contact,
            text=str(value.get("text", "")),
            created=_seconds(value.get("timestamp") or time, world.now()),
            product=product,
            media=str((media or {}).get("id", "")),
            parent=str(value.get("parent_id") or ""),
        )
    )
    return True


def _objects(holder: Any, key: str) -> list[dict[str, Any]]:
    listed = holder.get(key) if isinstance(holder, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _id(holder: Any) -> str:
    return str(holder.get("id", "")) if isinstance(holder, dict) else ""


def _seconds(value: Any, otherwise: float) -> float:
    """Read a time in seconds or milliseconds, told apart by its size."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number / 1000 if number > _MAGNITUDE_OF_MILLISECONDS else number
