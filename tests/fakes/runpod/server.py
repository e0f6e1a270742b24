"""The fake's HTTP: routes, authentication, rate limits, and the faults that spoil an answer."""

from __future__ import annotations

import json
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fakes.runpod import graphql
from fakes.runpod.account import Account, Problem
from fakes.runpod.bill import Bill
from fakes.runpod.contract import Contract, Violation
from fakes.runpod.machines import EntryPoint, Machines
from fakes.runpod.market import Market
from fakes.runpod.mischief import Mischief

from brightrun.clock import Clock

KEY = "rpa_fake_key_of_the_tests"
HTML = b"<html><body><h1>502 Bad Gateway</h1><p>cloudflare</p></body></html>"
JSON, PROBLEM = "application/json", "application/problem+json"


class Spoiled(Exception):
    """The request was (perhaps) carried out; its answer is not what it should be."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class FakeRunPod:
    """Use as a context manager: `with FakeRunPod(entry_point, clock) as fake: fake.url`.

    requests: (method, path, body) in order. violations: the fake's own breaches of the contract.
    hold_s: real seconds for which the answer is held back by the fault create_timeout.
    """

    def __init__(
        self,
        entry_point: EntryPoint,
        clock: Clock,
        *,
        contract: Contract | None = None,
        market: Market | None = None,
        bill: Bill | None = None,
        mischief: Mischief | None = None,
        hold_s: float = 1.0,
        retry_after_s: int = 2,
    ) -> None:
        self.console = tempfile.TemporaryDirectory(prefix="fake-runpod-")
        self.account = Account(
            clock,
            Machines(entry_point, clock, Path(self.console.name)),
            market or Market(),
            bill or Bill(),
            mischief or Mischief(),
        )
        self.contract, self.clock = contract, clock
        self.hold_s, self.retry_after_s = hold_s, retry_after_s
        self.page_size = 0
        self.requests: list[tuple[str, str, Any]] = []
        self.violations: list[str] = []
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.graphql_url = f"{self.url}/graphql"

    def __enter__(self) -> FakeRunPod:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for pod in self.account.pods.values():
            if pod.process is not None and pod.process.poll() is None:
                self.account.machines.kill_after_s = 0.2
                self.account.machines.stop(pod, wait=True)
        self.console.cleanup()

    def answer(self, method: str, target: str, key: str, raw: bytes) -> tuple[int, str, Any]:
        """Status, content type, JSON; Spoiled when a fault strikes."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self.lock:
            body = json.loads(raw) if raw else None
            self.requests.append((method, parts.path, body))
            self.account.tick()
            try:
                if key != f"Bearer {KEY}":
                    raise Problem(401, "Unauthorized", "invalid bearer token")
                if parts.path == "/graphql":
                    return 200, JSON, self._graphql(body or {})
                status, found = self._route(method, parts.path, query, body)
                kind = JSON
            except Problem as problem:
                status, kind, found = problem.status, PROBLEM, problem.body
            if self.contract is not None and parts.path != "/graphql":
                try:
                    self.contract.judge(method, parts.path, status, kind, found)
                except Violation as violation:
                    self.violations.append(str(violation))
            return status, kind, found

    def _route(
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, dict[str, Any] | None]:
        if self.contract is not None:
            errors = self.contract.request_errors(method, path, query, body)
            if errors and self.contract.path_of(path) is None:
                raise Problem(404, "Not Found", "resource not found")
            if errors:
                detail = "Request validation failed."
                raise Problem(422, "Unprocessable Entity", detail, errors)
        moment = {"POST": "create", "DELETE": "delete"}.get(method, "read")
        fault = self.account.mischief.strike(moment)
        self._before(fault)
        match method, path.strip("/").split("/"):
            case "POST", ["v2", "pods"]:
                pod = self.account.create(body)
                if fault:
                    raise Spoiled(fault)
                return 201, self.account.facts(pod)
            case "GET", ["v2", "pods"]:
                found = [self.account.facts(pod) for pod in self.account.listed()]
                return 200, self._page("pods", found, query)
            case "GET", ["v2", "pods", pod_id]:
                return 200, self.account.facts(self.account.pod(pod_id))
            case "DELETE", ["v2", "pods", pod_id]:
                if fault != "delete_ignored":
                    self.account.delete(pod_id)
                return 204, None
            case "GET", ["v2", "catalog", "gpus"]:
                return 200, self._catalogue(query)
            case "GET", ["v2", "network-volumes", volume]:
                return 200, self.account.volume(volume)
            case "GET", ["v2", "templates"]:
                return 200, self._page("templates", [*self.account.templates.values()], query)
            case "POST", ["v2", "templates"]:
                return 201, self.account.set_template(body)
            case "PATCH", ["v2", "templates", template]:
                return 200, self.account.set_template(body, template)
            case "PATCH", ["v2", "network-volumes", volume]:
                return 200, self.account.change_volume(volume, body)
            case "GET", ["v2", "network-volumes"]:
                found = [self.account.volume(v) for v in self.account.volumes]
                return 200, self._page("networkVolumes", found, query)
            case "POST", ["v2", "network-volumes"]:
                made = self.account.make_volume(body)
                if fault:
                    raise Spoiled(fault)
                return 201, made
            case "GET", ["v2", "billing", "pods"]:
                return 200, self.account.bill.billed(query, self.clock.now())
        raise Problem(404, "Not Found", "resource not found")

    def _graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        is_create = str(body.get("query", "")).startswith("mutation")
        fault = self.account.mischief.strike("create") if is_create else ""
        self._before(fault)
        found = graphql.execute(self.account, body)
        if fault:
            raise Spoiled(fault)
        return found

    def _before(self, fault: str) -> None:
        """Faults that keep the request from being carried out."""
        problems = {
            "capacity": (400, "Bad Request", "no capacity for this GPU and data center"),
            "balance": (402, "Payment Required", "insufficient balance"),
            "forbidden": (403, "Forbidden", "access denied"),
            "rate_limit": (429, "Too Many Requests", "rate limit exceeded for the minute window"),
            "delete_404": (404, "Not Found", "pod not found"),
            **dict.fromkeys(
                ("refused_500", "read_500", "delete_500"),
                (500, "Internal Server Error", "something went wrong"),
            ),
        }
        if fault in problems:
            raise Problem(*problems[fault])
        if fault == "read_html":
            raise Spoiled(fault)

    def _page(self, name: str, found: list[Any], query: dict[str, str]) -> dict[str, Any]:
        """A list; in pages where `page_size` says so, as others have met it."""
        if not self.page_size:
            return {name: found}
        first = int(query.get("cursor", 0))
        after = first + self.page_size
        more = {"hasNextPage": after < len(found), "nextCursor": str(after)}
        return {name: found[first:after], "pagination": more}

    def _catalogue(self, query: dict[str, str]) -> dict[str, Any]:
        available = query.get("include") == "AVAILABILITY"
        if available != ("product" in query):
            raise Problem(400, "Bad Request", "include=AVAILABILITY and product go together")
        number, now = int(query.get("count", 1)), self.clock.now()
        market = self.account.market
        return {"gpus": [market.listed(kind, available, number, now) for kind in market.kinds]}


def _handler(fake: FakeRunPod) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.headers.get("Authorization", "")
            try:
                status, kind, found = fake.answer(self.command, self.path, key, raw)
                data = b"" if found is None else json.dumps(found).encode()
            except Spoiled as spoiled:
                if spoiled.kind in ("create_dropped", "create_timeout"):
                    time.sleep(fake.hold_s if spoiled.kind == "create_timeout" else 0)
                    self.close_connection = True
                    return
                status, kind, data = 502, "text/html", HTML
                if spoiled.kind == "create_500":
                    status, kind = 500, PROBLEM
                    data = json.dumps(
                        {"title": "Internal Server Error", "status": 500, "detail": "timed out"}
                    ).encode()
            self._send(status, kind, data)

        do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _serve

        def _send(self, status: int, kind: str, data: bytes) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                self.send_header("x-request-id", uuid.uuid4().hex)
                if status == 429:
                    self.send_header("Retry-After", str(fake.retry_after_s))
                left = 0 if status == 429 else 50
                reset = fake.retry_after_s if status == 429 else 30
                self.send_header("RateLimit", f'"minute";r={left};t={reset}, "hour";r=2800;t=1812')
                if status != 204:
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler
