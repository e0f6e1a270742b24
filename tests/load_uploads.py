"""Ten gigabytes of checkpoints into a storage, by the trainer's own code, in a process of its own.

    python tests/load_uploads.py file:///tmp/storage --gb 10     prints one JSON object

Each checkpoint is one large file and a small one, uploaded with its manifest last; the last three
are kept. Then the newest is fetched again and its sha256 checked, as a resume does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from load_results import Row, row

from brightrun.runfolder import RunFolder, checkpoint
from trainer.checkpoints import Publisher
from trainer.reporter import Reporter
from trainer.uploads import Saved

ROOT = Path(__file__).resolve().parents[1]
WANTED_MB, GB = 500, 10**9
STEP = 100


def measure(gigabytes: int, s3_gigabytes: int) -> list[Row]:
    """Into a folder, and into the real S3 server."""
    from s3_server import s3_server

    found = []
    with tempfile.TemporaryDirectory(prefix="load-uploads-") as place:
        url = (Path(place) / "storage").as_uri()
        found += rows("a folder", gigabytes, in_a_process(url, gigabytes, {}))
    with (
        tempfile.TemporaryDirectory(prefix="load-uploads-") as place,
        s3_server(Path(place) / "data") as server,
    ):
        told = server.environment()
        done = in_a_process(told["STORAGE_URL"], s3_gigabytes, told)
        found += rows("S3 (SeaweedFS)", s3_gigabytes, done)
    return found


def in_a_process(url: str, gigabytes: int, more: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, url, "--gb", str(gigabytes)], cwd=ROOT, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rows(where: str, gigabytes: int, done: dict[str, Any]) -> list[Row]:
    part, whole = f"{gigabytes} GB of checkpoints to {where}", done["uploaded"] == gigabytes
    return [
        row(part, "uploaded", done["uploaded"], "GB", str(gigabytes), whole),
        row(part, "memory of the process at most", done["peak_mb"], "MB", "< 500",
            done["peak_mb"] < WANTED_MB),
        row(part, "the same after the newest was fetched and checked", done["fetched_mb"], "MB"),
        row(part, "megabytes a second, with sha256", done["mb_per_s"], "MB/s"),
    ]  # fmt: skip


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6


def upload(url: str, gigabytes: int) -> dict[str, Any]:
    folder = RunFolder(url, "load")
    folder.write_json("spec.json", {})
    publisher = Publisher(folder, Reporter(folder, 1, {}), {"load": True})
    with tempfile.TemporaryDirectory(prefix="load-checkpoint-") as place:
        local = Path(place) / "checkpoint"
        local.mkdir()
        block = os.urandom(1 << 20)
        with (local / "optimizer.pt").open("wb") as out:
            for number in range(GB // len(block) + 1):
                out.write(number.to_bytes(8, "big") + block[8:])
            out.truncate(GB)
        (local / "trainer_state.json").write_text("{}")
        began = time.perf_counter()
        for number in range(1, gigabytes + 1):
            publisher.publish(Saved(local, number * STEP))
            print(f"{number} GB, at most {peak_mb()} MB", file=sys.stderr, flush=True)
        took, peak = time.perf_counter() - began, peak_mb()
        kept = folder.checkpoints()
        assert kept == [n * STEP for n in range(1, gigabytes + 1)][-3:], kept
        shutil.rmtree(local)
        folder.download_folder(checkpoint(kept[-1]), Path(place) / "back")
    return {
        "uploaded": gigabytes, "peak_mb": peak, "fetched_mb": peak_mb(),
        "mb_per_s": round(gigabytes * 1000 / took),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--gb", type=int, default=10)
    given = parser.parse_args()
    print(json.dumps(upload(given.url, given.gb)))


if __name__ == "__main__":
    main()
