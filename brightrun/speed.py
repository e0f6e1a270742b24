"""How fast this machine multiplies against the one that `physics` was measured on, and how much of
its cores others leave now.

    python -m brightrun.speed THREADS    # GFLOP per CPU second, share of the wall's time it ran

A slow machine takes many CPU seconds, a busy one few of those that the wall's clock counts: the
first stays as it is for the whole job, the second may pass. Nothing is remembered beyond this
process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# GFLOP/s of one thread of the reference machine (2 cores, AMD EPYC of 2021), with nothing beside.
REFERENCE = 76.0
SECONDS = 0.8
WARM_UP = 20
# Rows, inner and outer size: a training sequence of SmolLM2 through its first MLP projection.
SHAPE = (512, 576, 1536)
PATIENCE_SECONDS = 30.0
# CPU features that multiply bf16 in hardware (x86 and ARM names in /proc/cpuinfo).
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# Of the speed that two threads reach with nothing beside, what a job's pod has: a whole demo job (2
# cores; driver and Prefect server beside it) trained at 114-152 tokens/s where quiet steps reach
# 150-159, and the same machine is a sixth slower at other hours. More cores: not measured.
IN_A_JOB = 0.8
# Times faster than in fp32, where a CPU multiplies bf16 in hardware: a demo job on 2 cores with
# avx512_bf16 trained at 400-450 tokens/s (fp32 there: 176-190) and measured in 39 s instead of 82.
BF16_GAIN = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """speed: of the cores, as a share of the reference machine's; free: share of the wall's time
    that the threads ran, the rest went to other processes."""

    speed: float = 1.0
    free: float = 1.0


@cache
def measured(threads: int) -> Sample:
    """What the machine does with so many threads; the reference, free, if it cannot be measured.

    In a process of its own: a BLAS library cannot be told its threads once it is loaded.
    """
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "brightrun.speed", str(threads)]
    try:
        done = subprocess.run(
            command, env={**os.environ, **single}, capture_output=True, text=True, check=True,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        gflops, ran = map(float, done.stdout.split())
        return Sample(share(gflops, threads), free(ran))
    except (OSError, subprocess.SubprocessError, ValueError):
        return Sample()


@cache
def cpu_features() -> frozenset[str]:
    """Feature flags of the first CPU; empty where /proc/cpuinfo does not exist."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def native_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    return bool(BF16_FEATURES & cpu_features())


def cpu_speedup(threads: int) -> float:
    """Wall-clock gain of threads in a job: 2 give 1.7x alone (measured), so threads ** 0.766, and
    IN_A_JOB of that. One thread is as fast as alone: the others' work has the other cores."""
    return max(1.0, IN_A_JOB * float(pow(threads, 0.766)))


def share(gflops: float, threads: int) -> float:
    """Of the reference machine's rate with so many threads, rounded to what can be trusted."""
    return max(0.01, round(gflops / REFERENCE / threads, 2))


def free(ran: float) -> float:
    """The share of time that the threads ran, rounded; the two clocks may differ by a little."""
    return min(1.0, max(0.01, round(ran, 2)))


def rate(threads: int, seconds: float = SECONDS) -> tuple[float, float]:
    """(GFLOP/s of fp32 matrix products, all threads together, by their CPU seconds; share of the
    wall's time that they ran)."""
    found: list[tuple[float, float]] = []
    busy = [threading.Thread(target=_multiply, args=(found, seconds)) for _ in range(threads)]
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join()
    return sum(gflops for gflops, _ in found), sum(ran for _, ran in found) / threads


def _multiply(found: list[tuple[float, float]], seconds: float) -> None:
    import numpy as np

    rows, inner, outer = SHAPE
    left, right = np.ones((rows, inner), np.float32), np.ones((inner, outer), np.float32)
    for _ in range(WARM_UP):
        np.matmul(left, right)
    count, begun, spent = 0, time.perf_counter(), time.thread_time()
    while (took := time.perf_counter() - begun) < seconds:
        np.matmul(left, right)
        count += 1
    spent = time.thread_time() - spent
    found.append((2.0 * rows * inner * outer * count / spent / 1e9, spent / took))


if __name__ == "__main__":
    print(*rate(int(sys.argv[1])))
