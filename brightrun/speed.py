"""How fast this machine multiplies now, against the one that `physics` was measured on.

    python -m brightrun.speed THREADS    # billions of multiply-adds and the like per second

Half of what differs between two machines is their cores, the other half is what else they do: so
the clock is the wall's, and nothing is remembered beyond this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import cache

# GFLOP/s of one thread of the reference machine (2 cores, AMD EPYC of 2021), with nothing beside.
REFERENCE = 76.0
SECONDS = 0.8
WARM_UP = 20
# Rows, inner and outer size: a training sequence of SmolLM2 through its first MLP projection.
SHAPE = (512, 576, 1536)
PATIENCE_SECONDS = 30.0


@cache
def measured(threads: int) -> float:
    """Share of what the reference machine does with so many threads; 1.0 if it cannot be measured.

    In a process of its own: a BLAS library cannot be told its threads once it is loaded.
    """
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "brightrun.speed", str(threads)]
    try:
        done = subprocess.run(
            command, env={**os.environ, **single}, capture_output=True, text=True, check=True,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        return share(float(done.stdout), threads)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 1.0


def share(gflops: float, threads: int) -> float:
    """Of the reference machine's rate with so many threads, rounded to what can be trusted."""
    return max(0.01, round(gflops / REFERENCE / threads, 2))


def rate(threads: int, seconds: float = SECONDS) -> float:
    """GFLOP/s of fp32 matrix products, all threads together, by the wall's clock."""
    found: list[float] = []
    busy = [threading.Thread(target=_multiply, args=(found, seconds)) for _ in range(threads)]
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join()
    return sum(found)


def _multiply(found: list[float], seconds: float) -> None:
    import numpy as np

    rows, inner, outer = SHAPE
    left, right = np.ones((rows, inner), np.float32), np.ones((inner, outer), np.float32)
    for _ in range(WARM_UP):
        np.matmul(left, right)
    count, begun = 0, time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        np.matmul(left, right)
        count += 1
    found.append(2.0 * rows * inner * outer * count / took / 1e9)


if __name__ == "__main__":
    print(rate(int(sys.argv[1])))
