"""What a resume needs to be exact beside hardware and seed: how the model computes, followed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import (
    FORKS,
    SMALL,
    environment,
    lay_out,
    payloads,
    run_pod,
    tiny_models,
    without_golden,
)

from brightrun import basemodels
from brightrun.jobs import Hyperparameters
from brightrun.runfolder import MANIFEST, RunFolder, checkpoint
from trainer import hardware, overrides
from trainer.resuming import COMPUTES, computed, differences
from trainer.wishes import Place, Wish

QUICK = SMALL.model_copy(update={"scenarios": 1, "questions": 1, "rotations": 1})
NF4 = "4-bit weights"
STEPS = 8
# Where the adapter is fused into the product, which needs unpacked weights; whatever this CPU has.
FP32 = {"BRIGHTRUN_CHOICES": '{"dtype": "float32"}'}


def cramped(environ: dict[str, str]) -> None:
    """A pod that has no memory for unpacked weights."""
    os.environ.update(environ)
    from trainer import loading
    from trainer.entry import main

    loading.dense_megabytes = lambda layers: 10**9
    sys.exit(main())


def run_cramped(
    folder: RunFolder, attempt: int = 1, pod: Callable[[dict[str, str]], None] = cramped,
    **more: str,
) -> int | None:  # fmt: skip
    process = FORKS.Process(target=pod, args=(environment(folder, tiny_models(), attempt, **more),))
    process.start()
    process.join(120)
    return process.exitcode


def tight(environ: dict[str, str]) -> None:
    """A pod whose second micro-step does not fit."""
    os.environ.update(environ)
    from trainer import attempt
    from trainer.entry import main

    micro_steps = 0

    def allocate(what: str, needs: Any) -> None:
        nonlocal micro_steps
        micro_steps += what == "micro-step"
        if (what, micro_steps) == ("micro-step", 2):
            raise MemoryError

    attempt.Work = partial(attempt.Work, allocate=allocate)  # type: ignore[assignment,misc]
    sys.exit(main())


def job(place: Path, values: Hyperparameters = QUICK) -> RunFolder:
    return without_golden(lay_out(place, tiny_models(), values))


def losses(folder: RunFolder, attempt: int) -> dict[int, float]:
    return {m["step"]: m["loss"] for m in payloads(folder, "metric", attempt) if "loss" in m}


def adapter(folder: RunFolder) -> str:
    return str((folder.manifest("adapter") or {})["files"]["adapter_model.safetensors"]["sha256"])


def warned(folder: RunFolder, attempt: int = 2) -> list[str]:
    told = payloads(folder, "warning", attempt)
    return [w["message"] for w in told if w["code"] == "inexact_resume"]


@pytest.mark.heavy
def test_a_resume_without_memory_for_what_was_before_says_that_it_is_inexact(
    tmp_path: Path,
) -> None:
    whole, folder = job(tmp_path / "whole"), job(tmp_path / "killed")
    assert run_pod(whole, tiny_models(), **FP32) == 0
    assert run_pod(folder, tiny_models(), BRIGHTRUN_INTERRUPT_AT="5", **FP32) == -9
    made = folder.manifest(checkpoint(folder.checkpoints()[-1])) or {}
    assert made[COMPUTES][NF4] == "unpacked once"
    assert run_cramped(folder, 2) == 0
    (message,) = warned(folder)
    assert f"{NF4} unpacked once -> unpacked at every use" in message
    # It is not a warning about nothing: the same dropout masks, other bits.
    assert adapter(folder) != adapter(whole)


@pytest.mark.heavy
def test_a_resume_computes_as_its_checkpoint_although_there_is_more_memory_now(
    tmp_path: Path,
) -> None:
    whole, folder = job(tmp_path / "whole"), job(tmp_path / "killed")
    assert run_cramped(whole, **FP32) == 0
    assert run_cramped(folder, BRIGHTRUN_INTERRUPT_AT="5", **FP32) == -9
    # Nobody says here in what to compute, either.
    assert run_pod(folder, tiny_models(), 2) == 0
    assert warned(folder) == []
    later = losses(folder, 2)
    assert STEPS in later
    assert later == {step: losses(whole, 1)[step] for step in later}
    assert adapter(folder) == adapter(whole)


@pytest.mark.heavy
def test_a_resume_after_an_out_of_memory_is_exact_and_the_result_is_that_of_a_larger_pod(
    tmp_path: Path,
) -> None:
    values = QUICK.model_copy(update={"pairs_per_step": 8})
    large, whole, folder = (job(tmp_path / name, values) for name in ("large", "whole", "killed"))
    two = {"BRIGHTRUN_CHOICES": '{"micro_batch": 2, "grouped": false, "dtype": "float32"}'}
    assert run_pod(large, tiny_models(), **two) == 0
    assert run_cramped(whole, pod=tight, **two) == 0
    assert run_cramped(folder, pod=tight, BRIGHTRUN_INTERRUPT_AT="4", **two) == -9
    # Nobody asks for two now: the checkpoint says one.
    assert run_pod(folder, tiny_models(), 2, **FP32) == 0
    assert [w["code"] for w in payloads(folder, "warning")] == ["out_of_memory"]
    later = losses(folder, 2)
    assert max(later) == max(losses(whole, 1)) == 6
    assert {**losses(folder, 1), **later} == losses(whole, 1)
    assert adapter(folder) == adapter(whole) != adapter(large)
    assert losses(whole, 1) == pytest.approx(losses(large, 1), rel=1e-5)


class Memory:
    """Loads `tiny` in NF4 with so much free memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def how(self, free_mb: int, before: str = "") -> str:
        from trainer import loading

        self.patch.setattr(hardware, "available_memory_mb", lambda: free_mb)
        folder = basemodels.prepared_folder("tiny", tiny_models())
        made = loading.decide(
            hardware.place(), folder, basemodels.profile(folder),
            Hyperparameters(precision="nf4"), 1, "", {},
        )  # fmt: skip
        return loading.dense(loading.load_base(folder, "nf4", made, before).model)


def test_dense_weights_need_a_quarter_of_the_memory_or_all_of_it_after_a_resume(
    monkeypatch: pytest.MonkeyPatch, torch: Any
) -> None:
    from trainer import loading

    folder = basemodels.prepared_folder("tiny", tiny_models())
    layers = loading.quantised_layers(loading.load_base(folder, "nf4").model)
    need = loading.dense_megabytes(layers)
    assert need > 0
    memory = Memory(monkeypatch)
    assert memory.how(4 * need) == "unpacked once"
    assert memory.how(4 * need - 1) == "unpacked at every use"
    assert memory.how(need, "unpacked once") == "unpacked once"
    assert memory.how(need - 1, "unpacked once") == "unpacked at every use"
    assert memory.how(100 * need, "unpacked at every use") == "unpacked at every use"


HERE = {"dtype": "float32", "attention": "sdpa", "liger": False, NF4: "unpacked once"}


def facts(**more: Any) -> dict[str, Any]:
    machine = {"versions": hardware.versions(), "threads": 1}
    return {**machine, "hardware": {**hardware.describe(), "processes": "1"}, **more}


def test_another_attention_and_another_kernel_package_are_told() -> None:
    now = facts(**{COMPUTES: HERE})
    assert differences(now, now) == []
    before = facts(**{COMPUTES: {**HERE, "attention": "flash_attention_2", "liger": True}})
    before["versions"]["flash-attn"] = "2.8"
    before["versions"][hardware.CUDA] = "12.8"
    assert differences(before, now) == [
        "CUDA 12.8 -> None", "flash-attn 2.8 -> None", "attention flash_attention_2 -> sdpa",
        "liger True -> False",
    ]  # fmt: skip


def test_a_checkpoint_that_does_not_tell_how_it_was_computed_gives_no_alarm() -> None:
    now = facts(**{COMPUTES: HERE})
    now["versions"] |= {"flash-attn": "2.8", "liger-kernel": "0.6", hardware.CUDA: "12.8"}
    assert differences(facts(), now) == []
    assert differences({**facts(), "threads": 2}, now) == ["threads 2 -> 1"]


def test_what_a_checkpoint_was_made_with_is_followed_where_that_can_be() -> None:
    wish = Wish("nf4", 8, 100, True, "", "llama")
    plain = Place("cuda", 80.0, "H100", (9, 0), native_bf16=True)
    rich = Place(
        "cuda", 80.0, "H100", (9, 0), packages=frozenset({"flash_attn", "liger_kernel"})
    )  # fmt: skip
    flash = {"dtype": "bfloat16", "attention": "flash_attention_2", "liger": True, NF4: ""}

    def kept(before: dict[str, Any], place: Place, **given: Any) -> dict[str, Any]:
        found = overrides.followed(before, given, place, wish)
        return {name: choice.value for name, choice in found.items()}

    assert kept(flash, rich) == {name: flash[name] for name in ("dtype", "attention", "liger")}
    assert kept(flash, plain) == {"dtype": "bfloat16"}
    assert kept({**flash, "attention": "sdpa"}, rich, liger=False) == {
        "dtype": "bfloat16", "attention": "sdpa",
    }  # fmt: skip
    assert kept({"attention": "of the future"}, rich) == {}


def test_only_a_checkpoint_of_such_hardware_is_followed(tmp_path: Path) -> None:
    folder = RunFolder((tmp_path / "storage").as_uri(), "job-1")

    def store(step: int, **more: Any) -> None:
        folder.write_json(f"{checkpoint(step)}/{MANIFEST}", {"files": {}, **more})

    assert computed(folder, 1) == {}
    store(2, **facts(**{COMPUTES: HERE}))
    assert computed(folder, 1) == HERE
    assert computed(folder, 2) == {}
    store(4, hardware={**hardware.describe(), "device": "another", "processes": "1"}, computes=HERE)
    assert computed(folder, 1) == {}
    store(6, **facts())
    assert computed(folder, 1) == {}
    folder.write_bytes(f"{checkpoint(8)}/{MANIFEST}", b"{")
    store(6, **facts(**{COMPUTES: {**HERE, "dtype": "bfloat16"}}))
    assert computed(folder, 1)["dtype"] == "bfloat16"
