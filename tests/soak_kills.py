"""Pods that are killed from outside at a phase that is seen from outside, and what came of it.

python tests/soak_kills.py FILE.jsonl    the results of `make soak` as a table

Nothing in the pod knows of this: the phase is read off its console and off the files that it
writes, and SIGKILL comes a seeded moment later. Whether it hit the phase is read off what the dead
pod has left; a miss is tried again with the next seed.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from trainer_jobs import FORKS, JOB, SMALL, environment, lay_out, payloads, tiny_models

from brightrun.runfolder import MANIFEST, RunFolder, checkpoint
from trainer.scratch import PREFIX

Phase = Literal["step", "save", "upload", "validation"]
KEYS = ("loss", "grad_norm", "learning_rate", "sample_ids")
ADAPTER = "adapter/manifest.json"
# 7 conversations, 2 a step, one a micro-batch; packed: 14, 4 a step in rows of 2. Both: 4 steps an
# epoch, the last one short, and several micro-batches in the others.
STEPS, PER_EPOCH = 12, 4
MOST_TRIES = 4
POD_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Case:
    """kills: the phase in which each pod but the last is killed."""

    seed: int
    kills: tuple[Phase, ...]
    precision: Literal["fp32", "nf4"]
    packing: bool

    @property
    def name(self) -> str:
        packed = "packed" if self.packing else "unpacked"
        return f"{'+'.join(self.kills)}-{self.precision}-{packed}-{self.seed}"


@dataclass(slots=True)
class Kill:
    """One kill: when it came, what it hit, what was complete at that moment."""

    phase: str
    after_step: int
    delay_ms: float
    inside: bool
    checkpoints: list[int] = field(default_factory=list)


def job(place: Path, precision: str, packing: bool) -> RunFolder:
    """Dropout 0.1, 3 epochs of 4 steps, a checkpoint after every step, validation at 4, 8, 12."""
    changes = {
        "precision": precision, "packing": packing, "epochs": 3, "eval_points": 3,
        "scenarios": 1, "questions": 1, "rotations": 1,
    }  # fmt: skip
    if packing:
        changes |= {"pairs_per_step": 9, "max_length": 480}
    training = 14 if packing else 7
    return lay_out(place, tiny_models(), SMALL.model_copy(update=changes), training=training)


class WatchedPod:
    """A pod with its console in a file and its scratch folder in a known place."""

    def __init__(self, folder: RunFolder, place: Path, attempt: int, **more: str) -> None:
        self.folder = folder
        self.scratch = place / f"scratch-{attempt}"
        self.scratch.mkdir(exist_ok=True)
        self.console = place / f"console-{attempt}.txt"
        self.console.touch()
        told = environment(folder, tiny_models(), attempt, TMPDIR=str(self.scratch), **more)
        self.process: BaseProcess = FORKS.Process(target=_pod, args=(told, str(self.console)))
        self.process.start()

    def said(self) -> str:
        return self.console.read_text(errors="replace")

    def step(self) -> int:
        """The last step that the console tells."""
        lines = [line for line in self.said().splitlines() if line.startswith("step ")]
        numbers = [line.split()[1] for line in lines if "/" in line.split()[1]]
        return int(numbers[-1].partition("/")[0]) if numbers else 0

    def until(self, what: Callable[[], bool], pause: float = 0.0005) -> bool:
        """Whether it happened before the pod ended."""
        end = time.monotonic() + POD_SECONDS
        while not what():
            assert time.monotonic() < end, self.said()[-2000:]
            if not self.process.is_alive():
                return what()
            time.sleep(pause)
        return True

    def kill(self) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join(30)


def _pod(environ: dict[str, str], console: str) -> None:
    os.environ.update(environ)
    tempfile.tempdir = None  # read TMPDIR again
    place = os.open(console, os.O_WRONLY | os.O_APPEND)
    os.dup2(place, 1)
    os.dup2(place, 2)
    import faulty_storage  # registers faulty://

    from trainer.entry import main

    assert faulty_storage.ORDERS
    sys.exit(main())


def local_copies(pod: WatchedPod, least: int) -> list[Path]:
    """Local checkpoint folders of step `least` or later."""
    found = pod.scratch.glob(f"{PREFIX}{JOB}-*/checkpoint-*")
    return [path for path in found if int(path.name.partition("-")[2]) >= least]


def half_saved(pod: WatchedPod, least: int) -> bool:
    """The last file of a local checkpoint is trainer_state.json."""
    return any(not (path / "trainer_state.json").exists() for path in local_copies(pod, least))


def half_stored(pod: WatchedPod, least: int) -> bool:
    steps = [int(name[5:]) for name in pod.folder.names("checkpoints")]
    return any(
        not pod.folder.exists(f"{checkpoint(s)}/{MANIFEST}")
        and bool(pod.folder.names(checkpoint(s)))
        for s in steps
        if s >= least
    )


def validating(pod: WatchedPod, least: int) -> bool:
    said = pod.said()
    return any(
        f"validating after step {s}\n" in said and f"step {s} validation loss" not in said
        for s in range(least, STEPS + 1)
    )


SEEN: dict[Phase, Callable[[WatchedPod, int], bool]] = {
    "step": lambda pod, least: pod.step() >= least,
    "save": half_saved,
    "upload": half_stored,
    "validation": validating,
}
# Longest seeded wait between seeing the phase and the kill, in seconds.
DELAY: dict[Phase, float] = {"step": 0.15, "save": 0.003, "upload": 0.003, "validation": 0.02}


def strike(pod: WatchedPod, phase: Phase, least: int, chance: random.Random) -> Kill | None:
    """Kill the pod in a phase at or after step `least`; None when it ended before."""
    if not pod.until(lambda: SEEN[phase](pod, least)):
        return None
    delay = chance.uniform(0.0, DELAY[phase])
    time.sleep(delay)
    pod.kill()
    inside = SEEN[phase](pod, least) and not pod.folder.exists(ADAPTER)
    done = pod.step()
    return Kill(phase, done, round(delay * 1000, 2), inside, pod.folder.checkpoints())


def trained(folder: RunFolder) -> dict[int, list[Any]]:
    """Step -> what must be equal; AssertionError when two attempts differ in a step."""
    found: dict[int, list[Any]] = {}
    for metric in payloads(folder, "metric"):
        if "loss" in metric:
            facts = [metric[key] for key in KEYS]
            assert found.setdefault(metric["step"], facts) == facts, metric["step"]
    return found


def adapter_sha(folder: RunFolder) -> str:
    manifest = folder.manifest("adapter") or {}
    return str(manifest["files"]["adapter_model.safetensors"]["sha256"])


def finish(folder: RunFolder, place: Path, attempt: int) -> None:
    """Let a pod train to the end; what it does after publishing the adapter is not waited for."""
    pod = WatchedPod(folder, place, attempt)
    assert pod.until(lambda: folder.exists(ADAPTER), 0.05), pod.said()[-2000:]
    # The last events are written within a second.
    assert pod.until(
        lambda: any(e.payload.get("name") == "measuring" for e in folder.events(attempt)), 0.1
    )
    pod.kill()


@functools.cache
def unbroken(precision: str, packing: bool) -> tuple[dict[int, list[Any]], str]:
    """(what every step was, sha256 of the adapter) of the run that nobody killed."""
    place = Path(tempfile.mkdtemp(prefix="brightrun-unbroken-"))
    folder = job(place, precision, packing)
    finish(folder, place, 1)
    steps = trained(folder)
    assert sorted(steps) == list(range(1, STEPS + 1))
    return steps, adapter_sha(folder)


def run(case: Case, place: Path) -> dict[str, Any]:
    """Kill, resume, finish, compare: one line of the table. AssertionError when it differs."""
    reference, sha = unbroken(case.precision, case.packing)
    begun = time.monotonic()
    for tries in range(1, MOST_TRIES + 1):
        chance = random.Random(f"{case.name} {tries}")
        folder = job(place / str(tries), case.precision, case.packing)
        kills: list[Kill] = []
        # In epoch 2 or 3; a second kill after the first one's step.
        least = chance.randint(PER_EPOCH + 1, PER_EPOCH + 4)
        for number, phase in enumerate(case.kills, start=1):
            pod = WatchedPod(folder, place / str(tries), number)
            kill = strike(pod, phase, least, chance)
            pod.kill()
            if kill is None:
                break
            kills.append(kill)
            least = kill.after_step + 1
        if len(kills) < len(case.kills) or not all(kill.inside for kill in kills):
            continue
        finish(folder, place / str(tries), len(kills) + 1)
        found = trained(folder)
        executed = sum("loss" in metric for metric in payloads(folder, "metric"))
        micro = [m["micro_batches"] for m in payloads(folder, "metric") if "loss" in m]
        differing = [s for s in reference if found.get(s) != reference[s]]
        return {
            "case": case.name,
            **asdict(case),
            "tries": tries,
            "hits": [asdict(kill) for kill in kills],
            "steps": len(found),
            "micro_batches": [min(micro), max(micro)],
            "repeated_steps": executed - len(found),
            "differing_steps": differing,
            "adapter_equal": adapter_sha(folder) == sha,
            "seconds": round(time.monotonic() - begun, 1),
        }
    raise AssertionError(f"{case.name}: no kill hit its phase in {MOST_TRIES} tries: {kills}")


def table(lines: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    rows = [
        "| seed | precision | packed | killed in (after step) | complete checkpoints then | "
        "steps repeated | steps that differ | adapter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        hits = ", ".join(f"{hit['phase']} ({hit['after_step']})" for hit in line["hits"])
        had = "; ".join(" ".join(map(str, hit["checkpoints"])) for hit in line["hits"])
        equal = "equal" if line["adapter_equal"] else "DIFFERS"
        rows.append(
            f"| {line['seed']} | {line['precision']} | {'yes' if line['packing'] else 'no'} | "
            f"{hits} | {had} | {line['repeated_steps']} | {len(line['differing_steps'])} of "
            f"{line['steps']} | {equal} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text()
    print(table([json.loads(line) for line in text.splitlines()]))
