"""A fake of Supabase Storage: upload, sign, fetch, remove; and of one table. Not the real service.

Follows the paths and answers that storage3 speaks, below /storage/v1/object: POST {bucket}/{path}
uploads, POST sign/{bucket}/{path} {expiresIn} signs, GET sign/...?token= fetches, DELETE {bucket}
{prefixes} removes, GET {bucket}/{path} fetches with a key. HTML is served as text/plain, as the
real one does. GET /rest/v1/training_files answers `rows` as PostgREST does: the asked columns of
the rows that every `eq.` names, in the asked order, `most` at once; what it does not know is
refused.
GET and POST /storage/v1/bucket list and make buckets; a public one is refused.
While `away` every call is answered as the gateway does when what is behind it is down.
Every call with a key needs it as `apikey` too: the real gateway refuses it otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlparse

from fakes import loopback
from fakes.loopback import Quiet

KEY = "sb_secret_test"
SECRET = b"signing secret of the fake"
ROOT = "/storage/v1/object/"
BUCKETS = "/storage/v1/bucket"
TABLE = "/rest/v1/training_files"


class Storage:
    """What the fake holds; `now` is moved by tests to let links run out."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.rows: list[dict[str, Any]] = []
        self.ahead = 0.0
        self.away = False
        self.most = 1000  # rows of one answer
        self.buckets: list[str] = []

    def now(self) -> float:
        return time.time() + self.ahead


def token(path: str, until: float) -> str:
    proof = hmac.new(SECRET, f"{path} {until:.0f}".encode(), hashlib.sha256).hexdigest()
    return f"{until:.0f}.{proof}"


def bucket(name: str) -> dict[str, Any]:
    at = "2026-11-24T00:00:00Z"
    return {
        "id": name, "name": name, "owner": "", "public": False, "created_at": at,
        "updated_at": at, "file_size_limit": None, "allowed_mime_types": None,
    }  # fmt: skip


@contextmanager
def serving(storage: Storage) -> Iterator[str]:
    """The fake's base URL."""
    down = b"<html><title>project | 522: Connection timed out</title></html>"

    class Handler(Quiet):
        def answer(self, code: int, body: Any, kind: str = "application/json") -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def refuse(self, code: int, error: str) -> None:
            self.answer(code, {"statusCode": str(code), "error": error, "message": error})

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def known(self) -> bool:
            given = (self.headers.get("apikey"), self.headers.get("Authorization"))
            return given == (KEY, f"Bearer {KEY}")

        def table(self, query: dict[str, list[str]]) -> None:
            if not self.known():
                return self.answer(
                    401, {"message": "Invalid API key", "hint": self.headers["apikey"]}
                )
            asked = {name: values[0] for name, values in query.items()}
            columns = asked.pop("select").split(",")
            limit = min(int(asked.pop("limit", len(storage.rows))), storage.most)
            start = int(asked.pop("offset", 0))
            order = [word.partition(".")[::2] for word in asked.pop("order", "id.asc").split(",")]
            filters = {name: value.partition(".") for name, value in asked.items()}
            hows = {how for how, _, _ in filters.values()}
            if {way for _, way in order} != {"asc"} or not hows <= {"eq"}:
                return self.answer(400, {"code": "PGRST100", "message": "failed to parse"})
            keys = [key for key, _ in order]
            if any(c not in row for row in storage.rows for c in (*columns, *filters, *keys)):
                return self.answer(400, {"code": "42703", "message": "column does not exist"})
            rows = [
                row
                for row in storage.rows
                if all(str(row[name]) == value for name, (_, _, value) in filters.items())
            ]
            rows = sorted(rows, key=lambda row: [str(row[key]) for key in keys])
            rows = rows[start : start + limit]
            return self.answer(200, [{name: row[name] for name in columns} for row in rows])

        def do_POST(self) -> None:
            data, path = self.body(), urlparse(self.path).path.removeprefix(ROOT)
            if storage.away:
                return self.answer(522, down, "text/html")
            if not self.known():
                return self.refuse(403, "Unauthorized")
            if self.path == BUCKETS:
                asked = json.loads(data)
                if asked["public"]:
                    return self.refuse(400, "a public bucket")
                storage.buckets.append(asked["id"])
                return self.answer(200, {"name": asked["id"]})
            if path.startswith("sign/"):
                name = path.removeprefix("sign/")
                if name not in storage.objects:
                    return self.refuse(404, "not_found")
                until = storage.now() + float(json.loads(data)["expiresIn"])
                link = f"/object/sign/{name}?token={token(name, until)}"
                return self.answer(200, {"signedURL": link})
            if path in storage.objects:
                return self.refuse(409, "Duplicate")
            kind = self.headers["Content-Type"]
            if kind.startswith("multipart/"):
                bound = kind.partition("boundary=")[2].encode()
                part = next(p for p in data.split(b"--" + bound) if b"filename=" in p)
                head, _, rest = part.partition(b"\r\n\r\n")
                data = rest[:-2]
                kind = next(
                    (line.partition(b": ")[2].decode() for line in head.split(b"\r\n")
                     if line.lower().startswith(b"content-type")), "",
                )  # fmt: skip
            storage.objects[path] = (data, kind)
            return self.answer(200, {"Id": "1", "Key": path})

        def do_GET(self) -> None:
            url = urlparse(self.path)
            if storage.away:
                return self.answer(522, down, "text/html")
            if url.path == TABLE:
                return self.table(parse_qs(url.query, keep_blank_values=True))
            if url.path == BUCKETS:
                if not self.known():
                    return self.refuse(403, "Unauthorized")
                return self.answer(200, [bucket(name) for name in storage.buckets])
            if self.headers.get("apikey"):
                name = url.path.removeprefix(ROOT)
                if not self.known():
                    return self.refuse(403, "Unauthorized")
                if name not in storage.objects:
                    return self.refuse(404, "not_found")
                return self.answer(200, *storage.objects[name])
            name = url.path.removeprefix(ROOT).removeprefix("sign/")
            given = parse_qs(url.query).get("token", [""])[0]
            until = given.partition(".")[0]
            if not until.isdigit() or given != token(name, float(until)):
                return self.refuse(400, "InvalidJWT")
            if storage.now() >= float(until):
                return self.refuse(400, "InvalidJWT: exp claim")
            if name not in storage.objects:
                return self.refuse(404, "not_found")
            data, kind = storage.objects[name]
            return self.answer(200, data, "text/plain" if "html" in kind else kind)

        def do_DELETE(self) -> None:
            bucket = urlparse(self.path).path.removeprefix(ROOT)
            if storage.away:
                self.body()
                return self.answer(522, down, "text/html")
            if not self.known():
                return self.refuse(403, "Unauthorized")
            gone = [f"{bucket}/{name}" for name in json.loads(self.body())["prefixes"]]
            found = [{"name": n} for n in gone if storage.objects.pop(n, None)]
            return self.answer(200, found)

    with loopback.serving(Handler) as root:
        yield root
