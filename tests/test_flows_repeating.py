"""A request that found the database locked is asked again; others are asked once."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from starlette.types import Receive, Scope, Send

from flows import repeating


class Locked:
    """Answers like Prefect's server: a 503 and a raise while locked, then an echo."""

    def __init__(self, busy: int, status: int = 503) -> None:
        self.busy, self.status = busy, status
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.bodies.append(message["body"])
        refused = len(self.bodies) <= self.busy
        status = self.status if refused else 201
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})
        if refused and self.status == 503:
            raise OperationalError("insert", {}, Exception("database is locked"))


def ask(app: Any, method: str = "POST") -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(repeating.Repeating(app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, "/api/x", content=b"the form")

    return asyncio.run(asked())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeating, "FIRST_PAUSE_SECONDS", 0.0)


def test_a_form_is_sent_again_with_its_body_until_the_lock_is_gone() -> None:
    app = Locked(busy=3)
    answer = ask(app)
    assert (answer.status_code, answer.content) == (201, b"the form")
    assert app.bodies == [b"the form"] * 4


def test_a_lock_that_stays_is_told() -> None:
    app = Locked(busy=99)
    assert ask(app).status_code in (500, 503)
    assert len(app.bodies) == repeating.TRIES


@pytest.mark.parametrize(("status", "method"), [(409, "POST"), (500, "PATCH"), (503, "GET")])
def test_everything_else_is_asked_once(status: int, method: str) -> None:
    app = Locked(busy=1, status=status)
    ask(app, method)
    assert len(app.bodies) == 1
