"""A Slack Web API on loopback that answers as told: status, headers, body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from fakes import loopback
from fakes.loopback import Quiet

OK = (200, {}, {"ok": True, "ts": "1.2", "channel": "C1"})


@dataclass
class FakeSlack:
    """`answers` are used up one by one, then OK; `calls` are (path, token, fields)."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def slack() -> Iterator[FakeSlack]:
    fake = FakeSlack()

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            kind = self.headers["Content-Type"]
            fields: dict[str, Any] = (
                json.loads(body or "{}")
                if "json" in kind
                else {k: v[0] for k, v in parse_qs(body).items()}
            )
            fake.calls.append((self.path, self.headers.get("Authorization", ""), fields))
            status, headers, answer = fake.answers.pop(0) if fake.answers else OK
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with loopback.serving(Handler) as root:
        fake.url = f"{root}/api/"
        yield fake
