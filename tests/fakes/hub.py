"""A hub on loopback: model info, HEAD and GET of files with ranges, the errors of the real one."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fakes.loopback import Quiet

COMMIT = "a" * 40
TOKEN = "hf_planted_token"  # the account that has accepted the licence of `org/gated`


class FakeHub:
    """Serves the files of `folder` as `org/tiny`, and to the holder of TOKEN as `org/gated`;
    `org/missing` gives an error, and so does a name with its revision in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        # Bytes of a large file after which the connection is cut, once.
        self.cut_after: int | None = None
        hub = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = to.path.split("?")[0]
        bytes_ = to.headers.get("Range", "")
        self.asked.append((f"{to.command} {path}", bytes_))
        if "/missing/" in f"{path}/" or "@" in path:
            return self._send(to, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        token = to.headers.get("Authorization", "")
        if "/gated/" in f"{path}/" and token != f"Bearer {TOKEN}":
            return self._send(to, 403 if token else 401, b"{}", {"X-Error-Code": "GatedRepo"})
        path = path.replace("/org/gated", "/org/tiny")
        if path.startswith("/api/models/org/tiny"):
            if "/revision/" in path and not path.endswith(("/main", COMMIT)):
                return self._send(to, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            files = [{"rfilename": f.name} for f in sorted(self.folder.iterdir())]
            info = {"id": "org/tiny", "sha": COMMIT, "siblings": files, "private": False}
            if "/tree/" in path:
                info = [  # type: ignore[assignment]
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "b" * 40}
                    for f in sorted(self.folder.iterdir())
                ]
            return self._send(to, 200, json.dumps(info).encode(), {})
        return self._file(to, self.folder / path.rsplit("/", 1)[-1], bytes_)

    def _file(self, to: BaseHTTPRequestHandler, file: Path, bytes_: str) -> None:
        data = file.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        head = {"ETag": f'"{name}"', "X-Linked-Etag": f'"{name}"', "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(data)), "Accept-Ranges": "bytes"}  # fmt: skip
        first = int(bytes_.removeprefix("bytes=").split("-")[0]) if bytes_ else 0
        status = 206 if first else 200
        if first:
            head["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        cut = self.cut_after
        if to.command == "GET" and cut is not None and len(data) > cut:
            self.cut_after = None
            to.send_response(status)
            for key, value in {**head, "Content-Length": str(len(data))}.items():
                to.send_header(key, value)
            to.end_headers()
            to.wfile.write(data[:cut])
            to.wfile.flush()
            to.connection.close()
            to.close_connection = True
            return
        self._send(to, status, data[first:], head)

    def _send(
        self, to: BaseHTTPRequestHandler, status: int, data: bytes, head: dict[str, str]
    ) -> None:
        to.send_response(status)
        for key, value in {**head, "Content-Length": str(len(data))}.items():
            to.send_header(key, value)
        to.end_headers()
        if to.command == "GET":
            to.wfile.write(data)
