"""A pod that writes what a real one wrote before it: events, checkpoints, adapter, measurements.

Half of the steps at once, then signs of life until it may go on, then the rest. Standard library
only: ten megabytes a pod.
"""

import json
import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

BEAT_SECONDS = 5.0
COPIED = ("checkpoints", "measurements", "adapter")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    record, go = Path(os.environ["REPLAY_OF"]), Path(os.environ["REPLAY_GO"])
    jobs = Path(os.environ["STORAGE_URL"].removeprefix("file://")) / "jobs"
    pod = Pod(jobs / os.environ["BRIGHTRUN_JOB_ID"], int(os.environ["BRIGHTRUN_ATTEMPT"]))
    last = max((record / "attempts").iterdir(), key=lambda place: int(place.name))
    rows = [json.loads(line) for part in sorted(last.glob("events-*.jsonl"))
            for line in part.read_text().splitlines()]  # fmt: skip
    told = [(row["type"], row["payload"]) for row in rows if row["type"] != "heartbeat"]
    steps = [at for at, (kind, said) in enumerate(told) if kind == "metric" and "loss" in said]
    half = steps[len(steps) // 2]
    pod.tell(told[:half])
    pod.beat_until(lambda: go.exists())
    pod.beat_until(Wait(float(os.environ["REPLAY_AFTER"])))
    for name in COPIED:
        copy(record / name, pod.folder / name)
    pod.tell(told[half:])
    pod.write("_DONE", (last / "_DONE").read_text())
    return 0


class Wait:
    """True once so many seconds are over."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def __call__(self) -> bool:
        return time.monotonic() >= self.until


class Pod:
    """Its own events, numbered and dated by itself."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.folder, self.attempt, self.seq = folder, attempt, 0

    def tell(self, what: list) -> None:
        now = datetime.now(UTC).isoformat()
        first, lines = self.seq + 1, []
        for kind, payload in what:
            self.seq += 1
            row = {"ts": now, "attempt": self.attempt, "seq": self.seq}
            lines.append(json.dumps({**row, "type": kind, "payload": payload}) + "\n")
        self.write(f"events-{first:08d}.jsonl", "".join(lines))

    def write(self, name: str, text: str) -> None:
        place = self.folder / "attempts" / str(self.attempt) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{name}.new")
        new.write_text(text)
        new.replace(place)

    def beat_until(self, true) -> None:
        beaten = 0.0
        while not true():
            if (self.folder / "control" / "stop.json").exists():
                sys.exit(0)
            if time.monotonic() - beaten > BEAT_SECONDS:
                self.tell([("heartbeat", {"stage": "training", "memory_mb": 10})])
                beaten = time.monotonic()
            time.sleep(0.5)


def copy(source: Path, target: Path) -> None:
    """Manifests last, as everybody writes them."""
    files = [place for place in source.rglob("*") if place.is_file()]
    for place in sorted(files, key=lambda place: place.name == "manifest.json"):
        to = target / place.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, to)


if __name__ == "__main__":
    sys.exit(main())
