"""Amazon's security token service on loopback: AssumeRole of the query API, its errors as XML."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

ROLE = "arn:aws:iam::123456789012:role/brightrun-pods"
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAfake</AccessKeyId><SecretAccessKey>made-s3cret</SecretAccessKey>
<SessionToken>made-token</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><Arn>{role}/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>
</AssumeRoleResult><ResponseMetadata><RequestId>r1</RequestId></ResponseMetadata></AssumeRoleResponse>
"""
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>no</Message></Error><RequestId>r1</RequestId></ErrorResponse>"""


class FakeSts:
    """Gives sessions of ROLE to whoever signs as `signer`; `asked`: parameters of each request."""

    def __init__(self, signer: str) -> None:
        self.asked: list[dict[str, str]] = []
        sts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                given = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                sts.asked.append(given)
                signed = f"Credential={signer}/" in self.headers.get("Authorization", "")
                good = signed and (given["Action"], given["RoleArn"]) == ("AssumeRole", ROLE)
                self.send_response(200 if good else 403)
                self.send_header("Content-Type", "text/xml")
                self.end_headers()
                self.wfile.write((ANSWER.format(role=ROLE) if good else ERROR).encode())

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def sts(signer: str) -> Iterator[FakeSts]:
    """For as long as the block runs."""
    served = FakeSts(signer)
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
