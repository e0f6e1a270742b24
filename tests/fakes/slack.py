"""A Slack Web API on loopback that answers as told: status, headers, body."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

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

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            kind = self.headers["Content-Type"]
            fields: dict[str, Any] = (
                json.loads(body) if "json" in kind else {k: v[0] for k, v in parse_qs(body).items()}
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

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/api/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
