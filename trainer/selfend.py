"""A pod at RunPod that nobody ends asks for its own end. Standard library only.

RunPod starts a container again when its main process ends, and bills on: a process that is over
stays instead, and a pod whose driver is dead would wait for ever. RunPod tells every pod its id and
a key for itself alone (RUNPOD_POD_ID, RUNPOD_API_KEY): read in other people's code and reports, not
in the contract (docs/runpod.md).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import NoReturn

POD, KEY = "RUNPOD_POD_ID", "RUNPOD_API_KEY"
REST, GRAPHQL = "BRIGHTRUN_RUNPOD_REST_URL", "BRIGHTRUN_RUNPOD_GRAPHQL_URL"
USUAL = {REST: "https://api.runpod.io", GRAPHQL: "https://api.runpod.io/graphql"}
# A driver that lives has ended the pod long before.
PATIENCE_SECONDS = 180.0
PAUSE_SECONDS = 60.0
ANSWER_SECONDS = 30.0
TERMINATE = "mutation End($input: PodTerminateInput!) { podTerminate(input: $input) }"


def stay(
    environ: Mapping[str, str] = os.environ, sleep: Callable[[float], None] = time.sleep
) -> NoReturn:
    """Wait to be ended; after PATIENCE_SECONDS ask for it, one way after the other, for ever."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("this pod stays until it is ended: its end would only start it again", flush=True)
    sleep(PATIENCE_SECONDS)
    for way in itertools.cycle((by_rest, by_graphql, by_tool)):
        try:
            way(environ)
            said = "asked for"
        except Exception as error:  # noqa: BLE001 the next way is tried, whatever it is
            said = f"refused: {type(error).__name__} {getattr(error, 'code', '')}".strip()
        print(f"nobody has ended this pod; its own end {way.__name__}: {said}", flush=True)
        sleep(PAUSE_SECONDS)
    raise AssertionError("the ways never run out")


def by_rest(environ: Mapping[str, str]) -> None:
    """DELETE of REST v2; reported to work with a pod's own key, by some to be refused."""
    ask(environ, "DELETE", f"{address(environ, REST)}/v2/pods/{environ[POD]}")


def by_graphql(environ: Mapping[str, str]) -> None:
    """What RunPod's own tool calls."""
    body = {"query": TERMINATE, "variables": {"input": {"podId": environ[POD]}}}
    answer = json.loads(ask(environ, "POST", address(environ, GRAPHQL), body))
    if answer.get("errors"):
        raise PermissionError


def by_tool(environ: Mapping[str, str]) -> None:
    """RunPod puts its tool into every container."""
    command = ["runpodctl", "remove", "pod", environ[POD]]
    subprocess.run(command, check=True, capture_output=True, timeout=2 * ANSWER_SECONDS)


def address(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or USUAL[name]).rstrip("/")


def ask(environ: Mapping[str, str], method: str, url: str, body: object = None) -> bytes:
    """The answer; OSError (urllib's own) when it is none, or a failure."""
    # Cloudflare refuses urllib's own name.
    headers = {"Authorization": f"Bearer {environ[KEY]}", "User-Agent": "brightrun",
               "Content-Type": "application/json"}  # fmt: skip
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 our address
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        return bytes(answer.read())
