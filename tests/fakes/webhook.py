"""The user's application on loopback: takes signed events, answers as told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes import loopback
from fakes.loopback import Quiet


@dataclass
class FakeApplication:
    """`answers` are status codes, used up one by one, then 204; `calls` are (signature, body)."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]


@contextmanager
def application() -> Iterator[FakeApplication]:
    fake = FakeApplication()

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.calls.append((self.headers["X-Brightrun-Signature"], body))
            self.send_response(fake.answers.pop(0) if fake.answers else 204)
            self.end_headers()

    with loopback.serving(Handler) as root:
        fake.url = f"{root}/events"
        yield fake
