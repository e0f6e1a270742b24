"""A real Redis on loopback, out of Debian's package; stopped by its pid."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from waiting import until

from flows.server import free_port

BINARY = shutil.which("redis-server")
MISSING = "not run: redis-server is missing (apt-get install redis-server)"


@contextmanager
def redis_server(place: Path) -> Iterator[str]:
    """Its URL, without a database's number."""
    assert BINARY is not None
    place.mkdir(parents=True)
    port = free_port()
    command = [BINARY, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(place)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with redis.Redis(port=port) as client:
            until(lambda: answers(client), 30, "Redis answers")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
