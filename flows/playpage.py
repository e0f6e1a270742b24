"""The playground's page on loopback: one question at a time, both answers streamed as JSON lines.

Only who has the printed address may ask: a random word in it (behind #, so it is in no log) comes
back as a header, and requests for another host name or of another page are refused.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from brightrun.errors import BrightRunError, UsageError

Answer = Callable[[str], Iterator[dict[str, Any]]]
PAGE = Path(__file__).with_name("playground.html")
MOST_BYTES = 100_000
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)


class Page:
    """A server in a thread; `address` is what a person opens. UsageError when the port is busy."""

    answer: Answer

    def __init__(self, where: str, port: int = 0) -> None:
        self.where = where
        self.token = secrets.token_urlsafe(16)
        self.one_at_a_time = threading.Lock()
        page = self

        class Handler(_Handler):
            of = page

        try:
            self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be had: {error.strerror}",
                fix="name another one, or leave out --port for a free one",
            ) from None
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/#{self.token}"

    def start(self, answer: Answer) -> None:
        self.answer = answer
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    of: Page

    def do_GET(self) -> None:
        if not self._from_here():
            return
        if self.path == "/":
            self._send(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/about" and self._knows():
            about = {"where": self.of.where}
            self._send(200, "application/json", json.dumps(about).encode())
        elif self.path != "/about":
            self._send(404, "text/plain", b"There is nothing here.")

    def do_POST(self) -> None:
        if not self._from_here() or not self._knows():
            return
        try:
            size = int(self.headers.get("Content-Length", ""))
            if self.path != "/ask" or not 0 < size <= MOST_BYTES:
                raise ValueError
            prompt = str(json.loads(self.rfile.read(size))["prompt"]).strip()
            if not prompt:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            self._send(400, "text/plain", b"Send {prompt: ...} to /ask.")
            return
        self.send_response(200)
        self._headers("application/x-ndjson")
        self.end_headers()
        with self.of.one_at_a_time:
            for event in self._answered(prompt):
                try:
                    self.wfile.write((json.dumps(event) + "\n").encode())
                    self.wfile.flush()
                except OSError:
                    pass  # the page was closed; the answer is read to its end all the same

    def _answered(self, prompt: str) -> Iterator[dict[str, Any]]:
        """What cannot be answered is told as an event: the status is sent by then."""
        try:
            yield from self.of.answer(prompt)
        except BrightRunError as error:
            yield {"error": error.as_dict()}

    def _from_here(self) -> bool:
        """A name that someone else's DNS points at this machine is not ours."""
        names = {f"127.0.0.1:{self.of.port}", f"localhost:{self.of.port}"}
        origin = self.headers.get("Origin", "")
        if self.headers.get("Host", "") in names and origin.removeprefix("http://") in names | {""}:
            return True
        self._send(403, "text/plain", b"Open the address that the terminal shows.")
        return False

    def _knows(self) -> bool:
        said = self.headers.get("X-Playground", "").encode("utf-8", "replace")
        if secrets.compare_digest(said, self.of.token.encode()):
            return True
        self._send(403, "text/plain", b"Open the whole address that the terminal shows.")
        return False

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self._headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads a log of it."""
