"""The smallest pod: heartbeats into its run folder until told to go; standard library only."""

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path


def main() -> int:
    storage = os.environ["STORAGE_URL"].removeprefix("file://")
    attempt = int(os.environ["BRIGHTRUN_ATTEMPT"])
    folder = Path(storage) / "jobs" / os.environ["BRIGHTRUN_JOB_ID"] / "attempts" / str(attempt)
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    steps, seq = int(os.environ.get("POD_STEPS", "1000000")), 0
    while seq < steps:
        seq += 1
        event = {
            "ts": datetime.now(UTC).isoformat(),
            "attempt": attempt,
            "seq": seq,
            "type": "heartbeat",
            "payload": {"stage": "training", "step": seq},
        }
        place = folder / f"events-{seq:08d}.jsonl"
        place.with_suffix(".tmp").write_text(json.dumps(event) + "\n")
        place.with_suffix(".tmp").replace(place)
        time.sleep(0.05)
    done = folder / "_DONE"
    done.with_suffix(".tmp").write_text(json.dumps({"adapter_sha256": "abc", "steps": steps}))
    done.with_suffix(".tmp").replace(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
