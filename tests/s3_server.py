"""A real S3 server (SeaweedFS) on loopback, with keys of its own; stopped by its pid."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WEED = Path(sys.executable).with_name("weed")
BUCKET = "runs"
ADMIN = ("AKADMIN", "secret-of-the-owner")
POD = ("AKPOD", "secret-of-pods")
START_SECONDS = 60.0


ROLE, SIGNING = "arn:aws:iam::role/pods", b"thirty-two letters to sign with."
ANYTHING = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
IAM = {
    "sts": {
        "tokenDuration": "1h", "maxSessionLength": "12h", "issuer": "tests",
        "signingKey": base64.b64encode(SIGNING).decode(),
    },
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
    "policies": [
        {"name": "all", "document": {"Version": "2012-10-17", "Statement": [ANYTHING]}}
    ],
    "roles": [{
        "roleName": "pods", "roleArn": ROLE, "attachedPolicies": ["all"],
        "trustPolicy": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]},
        ]},
    }],
}  # fmt: skip
SERVICES = ("s3", "master", "volume", "filer")
# SeaweedFS listens for gRPC at each port + 10,000. Both lie below the range (32,768 and up)
# out of which the kernel serves everyone who asks for any free port.
GRPC, PORTS = 10_000, range(20_000, 22_700)


def free_ports() -> dict[str, int]:
    """A port per service, free together with its gRPC twin, none of them twice."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if _is_free(port) and _is_free(port + GRPC):
            found.append(port)
        if len(found) == len(SERVICES):
            return dict(zip(SERVICES, found, strict=True))
    raise OSError(f"no {len(SERVICES)} free ports in {PORTS}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class S3Server:
    """`pause()` and `go_on()` are an outage: the process is stopped, connections hang.

    sts: it also gives sessions of ROLE, signed with SIGNING.
    """

    place: Path
    sts: bool = False
    ports: dict[str, int] = field(default_factory=free_ports)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def environment(self, who: tuple[str, str] = ADMIN) -> dict[str, str]:
        """What a client of it has in its environment."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}/team",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": who[0],
            "AWS_SECRET_ACCESS_KEY": who[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def pod_environment(self) -> dict[str, str]:
        """What is set beside it for pods: a key of their own, for the bucket alone."""
        return {
            "BRIGHTRUN_POD_STORAGE_KEY_ID": POD[0],
            "BRIGHTRUN_POD_STORAGE_SECRET": POD[1],
            "BRIGHTRUN_POD_STORAGE_ENDPOINT": self.url,
            "BRIGHTRUN_POD_STORAGE_REGION": "us-east-1",
        }

    def pause(self) -> None:
        """From now on connections are taken and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self, who: tuple[str, str] = ADMIN) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=who[0], aws_secret_access_key=who[1],
            region_name="us-east-1",
            config=Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 1}),
        )  # fmt: skip

    def start(self) -> None:
        """Returns once a real object could be written."""
        self.place.mkdir(parents=True, exist_ok=True)
        rights = {
            "identities": [
                _identity("owner", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
                _identity("pod", POD, [f"{what}:{BUCKET}" for what in ("Read", "Write", "List")]),
            ]
        }
        (self.place / "s3.json").write_text(json.dumps(rights))
        command = [
            str(WEED), "server", f"-dir={self.place}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.telemetry=false", "-volume.max=0", "-master.volumeSizeLimitMB=64",
            *(f"-{name}.port={port}" for name, port in self.ports.items()),
            "-s3", f"-s3.config={self.place / 's3.json'}",
            "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ]  # fmt: skip
        if self.sts:
            (self.place / "iam.json").write_text(json.dumps(IAM))
            command.append(f"-s3.iam.config={self.place / 'iam.json'}")
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "GOMEMLIMIT": "400MiB"}
            )
        until, client = time.monotonic() + START_SECONDS, self.client()
        while True:
            try:
                if BUCKET not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="probe", Body=b"ready")
                client.delete_object(Bucket=BUCKET, Key="probe")
                return
            except (BotoCoreError, ClientError):
                assert self.process.poll() is None, (self.place / "log").read_text()[-2000:]
                assert time.monotonic() < until, (self.place / "log").read_text()[-2000:]
                time.sleep(0.3)

    def stop(self) -> None:
        if self.process is None:
            return
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def _identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": keys[0], "secretKey": keys[1]}]
    return {"name": name, "credentials": credentials, "actions": actions}


@contextmanager
def s3_server(place: Path, *, sts: bool = False) -> Iterator[S3Server]:
    server = S3Server(place, sts)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)
