"""How OpenMP's threads wait for each other. Standard library only: torch's pool reads it once."""

from __future__ import annotations

from collections.abc import MutableMapping

# Turns of a waiting loop, some 50 microseconds: long enough for the short pieces of work that
# follow each other in a layer, too short to keep a core from somebody else. Measured on 2 cores,
# SmolLM2-135M, 544 tokens forward and backward: threads that sleep at once 5.7 s, these 5.1 s;
# beside a second job 7.2 and 7.9 s. Ten times as long: 4.6 s alone, but twice the time as soon as
# one other process computes.
TURNS = 2000


def settle(environ: MutableMapping[str, str], threads: int) -> None:
    """Give this process and its children so many threads, which wait briefly and then sleep.

    A person's own OMP_WAIT_POLICY or GOMP_SPINCOUNT stays.
    """
    environ["OMP_NUM_THREADS"] = environ["MKL_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" not in environ:
        environ["OMP_WAIT_POLICY"] = "PASSIVE"
        environ.setdefault("GOMP_SPINCOUNT", str(TURNS))
