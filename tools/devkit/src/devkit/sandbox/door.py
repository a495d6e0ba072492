"""The one way into every room: understand the call, let a fault strike, act, write it down, answer or go silent.

It is a bare ASGI application for two reasons: it costs next to nothing under load, and it can reach the connection
to cut it. A cut needs a real server (uvicorn); called in process there is nothing to cut, and the call just ends.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from devkit.sandbox.calls import Answer, Call, Room, parse_request
from devkit.sandbox.faults import MAX_SECONDS, FaultRule, Faults
from devkit.sandbox.journal import Entry, Journal
from devkit.sandbox.webhooks import WebhookPoster

MAX_BODY_BYTES = 8 * 1024 * 1024

Door = Callable[[Scope, Receive, Send], Any]


class RoomDoor:
    """Serve one room over HTTP."""

    def __init__(
        self,
        room: Room,
        *,
        faults: Faults,
        journal: Journal,
        poster: WebhookPoster,
        latency: Callable[[], float] = lambda: 0.0,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._room = room
        self._faults = faults
        self._journal = journal
        self._poster = poster
        self._latency = latency
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            return
        received = self._journal.now()
        raw = await _read_body(receive, self._most_bytes)
        if raw is None:
            await _send(send, 413, {"error": f"the body is above {self._most_bytes} bytes"}, {})
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        path = scope["path"].rstrip("/") or "/"
        request = parse_request(scope["method"], path, scope["query_string"], headers, raw)
        call = self._room.describe(request)
        fault = self._faults.take(call)
        if fault is None:
            answer = self._room.perform(call)
            entry = self._write(received, call, answer, str(answer.status))
            if latency := self._latency():
                await asyncio.sleep(latency)
            await self._answer(send, answer, entry)
        else:
            await self._misbehave(received, call, fault, receive, send)

    async def _misbehave(self, received: float, call: Call, fault: FaultRule, receive: Receive, send: Send) -> None:
        hangs, drops = fault.behaviour == "hang", fault.behaviour in {"drop", "drop_before"}
        if fault.seconds and not hangs:
            await asyncio.sleep(fault.seconds)
        done = self._room.perform(call) if fault.takes_effect else None
        if hangs or drops:
            self._write(received, call, done, "hung" if hangs else "dropped", fault)
            if done is not None:
                await self._poster.tell(done.updates)
            if hangs:
                await _until_left(receive, fault.seconds or MAX_SECONDS)
            await _cut(receive)
            return
        if fault.behaviour in {"slow", "headers"} and done is not None:
            done = replace(done, headers=with_ordered(done.headers, fault))
            entry = self._write(received, call, done, str(done.status), fault)
            await self._answer(send, done, entry)
            return
        failure = self._failure(call, fault)
        told = done or failure
        entry = self._write(received, call, told, str(failure.status), fault, error=failure.error)
        if done is not None:
            await self._poster.tell(done.updates)
        await _send(send, failure.status, failure.body, failure.headers)
        self._journal.note_answered(entry)

    def _failure(self, call: Call, fault: FaultRule) -> Answer:
        if fault.behaviour == "answer" and fault.status is not None:
            failure = Answer(fault.status, (fault.body or "").encode(), error=str(fault.status))
        else:
            failure = self._room.fail(call, fault)
        return replace(failure, headers=with_ordered(failure.headers, fault))

    async def _answer(self, send: Send, answer: Answer, entry: Entry) -> None:
        if answer.updates:
            await self._poster.tell(answer.updates)
        await _send(send, answer.status, answer.body, answer.headers)
        self._journal.note_answered(entry)

    def _write(
        self,
        received: float,
        call: Call,
        answer: Answer | None,
        outcome: str,
        fault: FaultRule | None = None,
        *,
        error: str | None = None,
    ) -> Entry:
        return self._journal.write(
            received=received,
            api=call.api,
            kind=call.kind,
            method=call.request.method,
            path=call.request.path,
            account=call.account,
            contact=call.contact or (answer.contact if answer else ""),
            text=call.text,
            outcome=outcome,
            effect=answer is not None and answer.effect,
            error=error if error is not None else (answer.error if answer else ""),
            message_id=answer.message_id if answer else "",
            fault=fault.behaviour if fault else "",
            detail=answer.detail if answer else {},
            request=call.request.written_down,
        )


async def _read_body(receive: Receive, most_bytes: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def with_ordered(own: Mapping[str, str], fault: FaultRule) -> dict[str, str]:
    """Return an answer's own headers with those a fault orders in place of the ones of the same names."""
    ordered = {name.lower() for name in fault.headers}
    return {**{name: value for name, value in own.items() if name.lower() not in ordered}, **fault.headers}


async def _send(send: Send, status: int, body: Any, headers: Mapping[str, str]) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode("ascii")
    named = any(key.lower() == "content-type" for key in headers)
    listed = [] if named else [(b"content-type", b"application/json; charset=utf-8")]
    listed.append((b"content-length", b"%d" % len(raw)))
    listed += [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": raw, "more_body": False})


async def _until_left(receive: Receive, seconds: float) -> None:
    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(left(), seconds)
    except TimeoutError:
        return


async def _cut(receive: Receive) -> None:
    """Break the TCP connection without a byte of answer.

    ASGI has no word for it; uvicorn's `receive` is a method of the object that holds the transport.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        return
    transport.abort()
    await _until_left(receive, 1.0)
