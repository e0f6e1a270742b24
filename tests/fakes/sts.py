"""Amazon's security token service on loopback: AssumeRole of the query API, its errors as XML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from fakes import loopback
from fakes.loopback import Quiet

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
    """`asked`: the parameters of each request."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def sts(signer: str) -> Iterator[FakeSts]:
    """Gives sessions of ROLE to whoever signs as `signer`, for as long as the block runs."""
    fake = FakeSts()

    class Handler(Quiet):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            given = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
            fake.asked.append(given)
            signed = f"Credential={signer}/" in self.headers.get("Authorization", "")
            good = signed and (given["Action"], given["RoleArn"]) == ("AssumeRole", ROLE)
            self.send_response(200 if good else 403)
            self.send_header("Content-Type", "text/xml")
            self.end_headers()
            self.wfile.write((ANSWER.format(role=ROLE) if good else ERROR).encode())

    with loopback.serving(Handler) as fake.url:
        yield fake
