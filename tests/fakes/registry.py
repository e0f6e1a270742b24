"""An image registry on loopback: HEAD of manifests, and the bearer token that its 401 asks for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlparse

from fakes import loopback
from fakes.loopback import Quiet

DIGEST = "sha256:" + "a" * 64
USER, PASSWORD, TOKEN = "puller", "pull-s3cret", "granted"


class FakeRegistry:
    """`brightrun/trainer` is for everybody, `brightrun/private` for USER, nothing else is there."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.host = ""

    def image(self, name: str = "brightrun/trainer", digest: str = DIGEST) -> str:
        return f"{self.host}/{name}@{digest}"

    def manifest(self, to: BaseHTTPRequestHandler) -> None:
        self.asked.append(to.path)
        _, _, owner, name, kind, digest = to.path.split("/")
        if to.headers.get("Authorization") != f"Bearer {TOKEN}/{owner}/{name}":
            to.send_response(401)
            realm = f"http://{self.host}/token"
            scope = f"repository:{owner}/{name}:pull"
            to.send_header(
                "WWW-Authenticate", f'Bearer realm="{realm}",service="fake",scope="{scope}"'
            )
        else:
            known = (owner, kind, digest) == ("brightrun", "manifests", DIGEST)
            to.send_response(200 if known else 404)
        to.end_headers()

    def token(self, to: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlparse(to.path).query)
        assert query["service"] == ["fake"]
        name = query["scope"][0].split(":")[1]
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        allowed = "private" not in name or to.headers.get("Authorization") == f"Basic {basic}"
        to.send_response(200 if allowed else 401)
        to.end_headers()
        to.wfile.write(json.dumps({"token": f"{TOKEN}/{name}"} if allowed else {}).encode())


@contextmanager
def registry() -> Iterator[FakeRegistry]:
    """A registry for as long as the block runs."""
    fake = FakeRegistry()

    class Handler(Quiet):
        def do_HEAD(self) -> None:
            fake.manifest(self)

        def do_GET(self) -> None:
            fake.token(self)

    with loopback.serving(Handler) as root:
        fake.host = root.removeprefix("http://")
        yield fake
