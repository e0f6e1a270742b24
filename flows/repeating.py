"""Repeats a request that found Prefect's SQLite database locked.

The server answers 503 then and expects its clients to ask again. Prefect's own clients do, a
browser does not: every few submissions of the form would end with "Oops" while a job runs.
"""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import OperationalError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRIES = 8
FIRST_PAUSE_SECONDS = 0.05
BUSY = 503


class Repeating:
    """An ASGI application around another one. Reading requests and web sockets pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        body = await whole(receive)
        for attempt in range(TRIES):
            answer: list[Message] = []
            try:
                await self.app(dict(scope), once(body, receive), keep(answer))
            except OperationalError:
                if attempt == TRIES - 1 or not is_busy(answer):
                    raise
            if not is_busy(answer):
                break
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        for message in answer:
            await send(message)


async def whole(receive: Receive) -> bytes:
    """The request's body; the forms and states of this API are small."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body again, then what the client says next (its farewell)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def keep(answer: list[Message]) -> Send:
    """A `send` that keeps the messages."""

    async def kept(message: Message) -> None:
        answer.append(message)

    return kept


def is_busy(answer: list[Message]) -> bool:
    return any(m.get("status") == BUSY for m in answer if m["type"] == "http.response.start")
