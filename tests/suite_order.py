"""The order of the suite: what takes longest first, and what needs torch in one process.

A file is the unit that a worker takes. Whole jobs wait more than they compute, so they run beside
the tests that train; small files fill what is left, and no worker ends long after the others.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# These import torch, or fork pods from a server that has: once, not in every worker.
TORCH = (
    "test_brightrun_llama_tokenizer", "test_brightrun_tokens", "test_soak_kills", "test_trainer_",
)  # fmt: skip
# A worker with two tests or less before it takes the next file too: the job waits for the browser.
FIRST = (
    "test_flows_recovery", "test_flows_ui", "torch", "test_flows_job", "test_chaos",
    "test_flows_cli", "test_expectations_",
)  # fmt: skip


def unit(nodeid: str) -> str:
    """What runs in one process, one after the other: a file, or all that needs torch."""
    name = nodeid.partition("::")[0].rpartition("/")[2].removesuffix(".py")
    return "torch" if name.startswith(TORCH) else name


def rank(nodeid: str) -> int:
    """Position of a test's unit; equal ones stay as they are collected."""
    name = unit(nodeid)
    return next((n for n, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


class Units(LoadFileScheduling):
    """pytest-xdist's `--dist loadfile` with these units for files."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
