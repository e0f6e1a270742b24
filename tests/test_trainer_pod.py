"""Whole pods on `tiny`: exact resume, stops, lease, skipping what is finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from trainer_jobs import (
    SMALL,
    fork_pod,
    lay_out,
    log_of,
    payloads,
    run_pod,
    tiny_models,
    without_golden,
)
from waiting import until

from brightrun.jobs import Hyperparameters
from brightrun.progress import MEASURING, progress
from brightrun.runfolder import DONE, FAILED, STOPPED, RunFolder, checkpoint, sha256_file

pytestmark = pytest.mark.heavy
# Dropout, two sequences a step, 4 steps an epoch, a short last one; no measuring to speak of.
QUICK = SMALL.model_copy(
    update={"scenarios": 1, "questions": 1, "rotations": 1, "max_new_tokens": 8, "eval_points": 2}
)


def job(place: Path, values: Hyperparameters = QUICK) -> RunFolder:
    return without_golden(lay_out(place, tiny_models(), values))


def steps_of(folder: RunFolder, attempt: int) -> dict[int, Any]:
    keys = ("loss", "grad_norm", "learning_rate", "sample_ids")
    metrics = [m for m in payloads(folder, "metric", attempt) if "loss" in m]
    return {m["step"]: [m[key] for key in keys] for m in metrics}


def marker(folder: RunFolder, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    found = folder.marker(attempt)
    assert found is not None, log_of(folder, attempt)
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One job from start to end without any interruption, golden answers included."""
    folder = lay_out(tmp_path_factory.mktemp("unbroken"), tiny_models(), QUICK)
    assert run_pod(folder, tiny_models()) == 0
    return folder


def test_a_job_ends_with_adapter_measurements_and_marker(unbroken: RunFolder) -> None:
    name, done = marker(unbroken)
    assert name == DONE
    assert done["steps"] == 8
    assert (
        done["adapter_sha256"]
        == ((unbroken.manifest("adapter") or {})["files"]["adapter_model.safetensors"]["sha256"])
    )
    assert unbroken.names("adapter") == [
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    ]  # fmt: skip
    assert unbroken.read_json("adapter/adapter_config.json")["base_model_name_or_path"] == "tiny"
    counts = {
        n: len(unbroken.read_jsonl(f"measurements/{n}"))
        for n in unbroken.names("measurements")
        if n.endswith(".jsonl")
    }
    assert counts == {
        "answers.jsonl": 2, "golden.jsonl": 3, "knowledge.jsonl": 2, "likelihood.jsonl": 4,
        "neutral.jsonl": 2, "option_text.jsonl": 2,
    }  # fmt: skip
    packages = unbroken.read_json("measurements/packages.json")
    assert packages["torch"] == metadata.version("torch")
    assert "huggingface-hub" in packages  # transformers needs it, inference.py does not name it
    assert unbroken.read_json("measurements/machine.json")["dtype"].startswith("torch.")
    assert len(unbroken.checkpoints()) == 3


def test_every_stage_and_step_is_told_in_the_events(unbroken: RunFolder) -> None:
    stages = [(s["name"], s["status"]) for s in payloads(unbroken, "stage")]
    names = ("preprocessing", "model_loading", "training", "measuring", "finalization")
    assert stages == [(n, status) for n in names for status in ("started", "finished")]
    assert [s["step"] for s in payloads(unbroken, "metric") if "loss" in s] == list(range(1, 9))
    validation = [m for m in payloads(unbroken, "metric") if "validation_loss" in m]
    assert [m["step"] for m in validation] == [4, 8]
    assert validation[1]["validation_loss"] < validation[0]["validation_loss"]
    for epoch in (range(1, 5), range(5, 9)):
        ids = [name for step in epoch for name in steps_of(unbroken, 1)[step][3]]
        assert sorted(ids) == [f"conversation-{n}" for n in range(7)]
    seqs = [e.seq for e in unbroken.events(1)]
    assert seqs == list(range(1, len(seqs) + 1))
    first = payloads(unbroken, "heartbeat")[0]
    assert first["memory_mb"] > 0
    assert first["free_mb"] > 0


def test_the_share_of_measuring_never_falls_at_a_kind_of_item(unbroken: RunFolder) -> None:
    events = list(unbroken.events(1))
    at = [
        n
        for n, e in enumerate(events)
        if e.type == "progress" and e.payload.get("stage") == "measuring"
    ]
    kinds = [str(events[n].payload["what"]).partition(",")[0] for n in at]
    assert {"likelihood", "neutral", "knowledge", "option texts", "answers"} <= set(kinds)
    assert set(kinds) <= set(MEASURING)
    looks = [progress(events[: n + 1], {}, events[n].ts) for n in at]
    shares = [next(s.fraction for s in look.stages if s.name == "measuring") for look in looks]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]


def test_killed_in_epoch_two_and_resumed_equals_the_unbroken_run_bit_for_bit(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    folder = job(tmp_path)
    assert run_pod(folder, tiny_models(), 1, BRIGHTRUN_INTERRUPT_AT="7") == -signal.SIGKILL
    assert folder.marker(1) is None
    newest = folder.checkpoints()[-1]
    assert 4 < newest < 7
    assert run_pod(folder, tiny_models(), 2) == 0
    first, second, whole = steps_of(folder, 1), steps_of(folder, 2), steps_of(unbroken, 1)
    assert sorted(first) == list(range(1, 8))
    assert sorted(second) == list(range(newest + 1, 9))
    assert first == {step: whole[step] for step in first}
    assert second == {step: whole[step] for step in second}
    assert marker(folder, 2)[1]["adapter_sha256"] == marker(unbroken)[1]["adapter_sha256"]
    for kind in ("likelihood", "knowledge"):
        name = f"measurements/{kind}.jsonl"
        assert folder.read_jsonl(name) == unbroken.read_jsonl(name)


def test_computing_activations_twice_or_keeping_them_gives_the_same_bits(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    kept = job(tmp_path / "kept", QUICK.model_copy(update={"gradient_checkpointing": False}))
    assert run_pod(kept, tiny_models()) == 0
    again = job(tmp_path / "again")
    assert run_pod(again, tiny_models(), BRIGHTRUN_CHOICES='{"activation_tokens": 0}') == 0
    shas = {marker(f)[1]["adapter_sha256"] for f in (unbroken, kept, again)}
    assert len(shas) == 1


def test_validation_during_training_changes_nothing(unbroken: RunFolder, tmp_path: Path) -> None:
    folder = job(tmp_path, QUICK.model_copy(update={"eval_points": 0}))
    assert run_pod(folder, tiny_models()) == 0
    assert steps_of(folder, 1) == steps_of(unbroken, 1)
    assert marker(folder)[1]["adapter_sha256"] == marker(unbroken)[1]["adapter_sha256"]


def test_a_last_validation_that_a_stop_has_prevented_is_made_up_for(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    """The checkpoint of the last step is complete, its validation loss was never told."""
    place = tmp_path / "stopped"
    shutil.copytree(unquote(urlsplit(unbroken.storage_url).path), place)
    folder = RunFolder(place.as_uri(), unbroken.job_id)
    removed = 0
    for name in folder.names("attempts/1"):
        if name.startswith("events-"):
            lines = folder.read_bytes(f"attempts/1/{name}").decode().splitlines()
            kept = [
                text for text in lines if not ('"validation_loss"' in text and '"step": 8' in text)
            ]
            removed += len(lines) - len(kept)
            folder.write_bytes(f"attempts/1/{name}", "".join(f"{k}\n" for k in kept).encode())
    assert removed == 1
    folder.remove("attempts/1/_DONE")
    for name in folder.names("adapter"):
        folder.remove(f"adapter/{name}")
    assert run_pod(folder, tiny_models(), 2) == 0
    told = {
        m["step"]: m["validation_loss"]
        for m in payloads(folder, "metric")
        if "validation_loss" in m
    }
    whole = [m for m in payloads(unbroken, "metric") if "validation_loss" in m]
    assert told == {m["step"]: m["validation_loss"] for m in whole}
    assert steps_of(folder, 2) == {}
    assert marker(folder, 2)[1]["adapter_sha256"] == marker(unbroken)[1]["adapter_sha256"]


@pytest.mark.parametrize("how", ["stop", "lease", "sigterm"])
def test_a_stop_saves_the_last_step_and_the_next_attempt_goes_on_exactly(
    unbroken: RunFolder, tmp_path: Path, how: str
) -> None:
    folder = job(tmp_path)
    pod = fork_pod(folder, tiny_models())
    until(lambda: any(m.get("step", 0) >= 2 for m in payloads(folder, "metric")))
    asked = time.monotonic()
    if how == "stop":
        folder.request_stop("pause", "a tester")
    elif how == "lease":
        folder.write_json("control/lease.json", {"expires": time.time() - 1, "seconds": 60})
    else:
        os.kill(pod.pid or 0, signal.SIGTERM)
    pod.join(30)
    assert pod.exitcode == 0
    assert time.monotonic() - asked < (5 if how == "sigterm" else 10)
    name, content = marker(folder)
    assert name == STOPPED
    by = {"by": "a tester"} if how == "stop" else {}
    assert content == {"reason": "pause" if how == "stop" else how, **by}
    done = max(steps_of(folder, 1))
    assert folder.checkpoints()[-1] == done
    folder.remove("control/stop.json")
    folder.remove("control/lease.json")
    assert run_pod(folder, tiny_models(), 2) == 0
    # The pod may have trained all 8 steps before it saw the request: then none is left.
    assert min(steps_of(folder, 2), default=9) == done + 1
    assert marker(folder, 2)[1]["adapter_sha256"] == marker(unbroken)[1]["adapter_sha256"]
    told = [m["step"] for m in payloads(folder, "metric") if "validation_loss" in m]
    assert told == [4, 8]


def test_what_is_finished_is_not_done_again(unbroken: RunFolder, tmp_path: Path) -> None:
    folder = job(tmp_path)
    for name in ("adapter_config.json", "adapter_model.safetensors", "manifest.json"):
        folder.write_bytes(f"adapter/{name}", unbroken.read_bytes(f"adapter/{name}"))
    rows = unbroken.read_jsonl("measurements/likelihood.jsonl")
    # Measured by an attempt that was killed: two whole items, one torn line.
    marked = [{**row, "nll": -1.0} for row in rows[:2]]
    folder.write_jsonl("measurements/parts/likelihood/0001-000001.jsonl", marked)
    assert run_pod(folder, tiny_models(), 2) == 0
    found = folder.read_jsonl("measurements/likelihood.jsonl")
    assert [row["nll"] for row in found] == [-1.0, -1.0, *(row["nll"] for row in rows[2:])]
    assert payloads(folder, "metric") == []
    skipped = [s["name"] for s in payloads(folder, "stage") if s["status"] == "skipped"]
    assert skipped == ["training"]
    assert "parts" not in folder.names("measurements")


def test_a_complete_last_checkpoint_goes_straight_to_measuring(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    folder = job(tmp_path)
    last = "checkpoints/step-00000008"
    for name in unbroken.names(last):
        folder.write_bytes(f"{last}/{name}", unbroken.read_bytes(f"{last}/{name}"))
    # What attempt 1 told before it was killed: its last validation is among it.
    for name in unbroken.names("attempts/1"):
        if name.startswith("events-"):
            folder.write_bytes(f"attempts/1/{name}", unbroken.read_bytes(f"attempts/1/{name}"))
    before = payloads(folder, "metric")
    assert before[-1]["step"] == 8
    assert run_pod(folder, tiny_models(), 2) == 0
    assert payloads(folder, "metric") == before
    assert marker(folder, 2)[1]["adapter_sha256"] == marker(unbroken)[1]["adapter_sha256"]


def test_checkpoints_load_without_unpickling_and_hold_no_base_model(unbroken: RunFolder) -> None:
    import torch
    from safetensors.torch import load_file

    assert QUICK.precision == "nf4"
    last = "checkpoints/step-00000008"
    assert set(unbroken.names(last)) == {
        "adapter_config.json", "adapter_model.safetensors", "manifest.json", "optimizer.pt",
        "rng_state.pth", "scheduler.pt", "trainer_state.json",
    }  # fmt: skip
    place = unbroken.local_path(last)
    state = torch.load(place / "optimizer.pt", weights_only=True)
    assert state["state"]
    # Precision is NF4, and what is trained is fp32 all the same, its moments too.
    moments = [value for one in state["state"].values() for value in one.values()]
    trained = [value for value in moments if getattr(value, "ndim", 0)]
    trained += load_file(place / "adapter_model.safetensors").values()
    assert {value.dtype for value in trained} == {torch.float32}
    manifest = unbroken.manifest(last) or {}
    assert {"step", "epoch", "versions", "threads", "hardware"} <= set(manifest)


def test_a_loss_that_is_not_finite_stops_the_job_and_keeps_the_checkpoint(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    import torch

    folder = job(tmp_path)
    healthy = "checkpoints/step-00000006"
    for name in unbroken.names(healthy):
        folder.write_bytes(f"{healthy}/{name}", unbroken.read_bytes(f"{healthy}/{name}"))
    # Step 7 is computed with good weights; its update spoils them.
    local = tmp_path / "optimizer.pt"
    folder.download(f"{healthy}/optimizer.pt", local)
    state = torch.load(local, weights_only=True)
    # bitsandbytes keeps its moments one level deeper.
    first = next(iter(state["state"].values()))
    for part in (first, *(value for value in first.values() if isinstance(value, dict))):
        for value in part.values():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                value.fill_(float("nan"))
    torch.save(state, local)
    folder.upload(local, f"{healthy}/optimizer.pt")
    manifest = folder.manifest(healthy) or {}
    size, sha256 = local.stat().st_size, sha256_file(local)
    manifest["files"]["optimizer.pt"].update(size=size, sha256=sha256)
    folder.write_json(f"{healthy}/manifest.json", manifest)
    assert run_pod(folder, tiny_models(), 2) == 1
    name, content = marker(folder, 2)
    assert (name, content["code"], content["fault"]) == (FAILED, "trainer", "nan_loss")
    assert "loss of step 8 is nan" in content["message"]
    assert content["adjustment"] == {"learning_rate": 0.0005}
    # Step 7 was saved with what its update left; a resume refuses that and takes step 6.
    assert folder.checkpoints() == [6, 7]
    assert list(steps_of(folder, 2)) == [7]


def test_a_resume_whose_losses_leave_the_band_saves_nothing(
    unbroken: RunFolder, tmp_path: Path
) -> None:
    folder = job(tmp_path)
    place = "checkpoints/step-00000006"
    for name in unbroken.names(place):
        folder.write_bytes(f"{place}/{name}", unbroken.read_bytes(f"{place}/{name}"))
    manifest = folder.manifest(place) or {}
    assert manifest["loss_band"]["steps"] == 6
    # As if it came from a run that was at 5 nats: on `tiny` no adapter can be that good.
    manifest["loss_band"] = {"mean": 5.0, "std": 0.05, "steps": 10}
    folder.write_json(f"{place}/manifest.json", manifest)
    assert run_pod(folder, tiny_models(), 2) == 1
    name, content = marker(folder, 2)
    assert (name, content["fault"]) == (FAILED, "loss_jump")
    assert "resumed at step 6" in content["message"]
    assert folder.checkpoints() == [6]


# In the default suite test_soak_kills.py kills and resumes packed rows and counted sequences one at
# a time; several of them at a time are slow.
@pytest.mark.parametrize(
    ("packing", "grouped"),
    [
        (False, True),
        pytest.param(False, False, marks=pytest.mark.slow),
        pytest.param(True, False, marks=pytest.mark.slow),
    ],
)
def test_resume_is_exact_with_micro_batches_of_two_and_dropout(
    tmp_path: Path, *, packing: bool, grouped: bool
) -> None:
    more = {"pairs_per_step": 8, "max_length": 256 if packing else 1024, "packing": packing}
    values = QUICK.model_copy(update=more)
    whole, broken = (job(tmp_path / name, values) for name in ("whole", "broken"))
    two = {"BRIGHTRUN_CHOICES": json.dumps({"micro_batch": 2, "grouped": grouped})}
    assert run_pod(whole, tiny_models(), **two) == 0
    last = max(steps_of(whole, 1))
    kill = {"BRIGHTRUN_INTERRUPT_AT": str(last - 1)}
    assert run_pod(broken, tiny_models(), 1, **two, **kill) == -signal.SIGKILL
    assert run_pod(broken, tiny_models(), 2, **two) == 0
    found = {**steps_of(broken, 1), **steps_of(broken, 2)}
    assert found == steps_of(whole, 1)
    assert marker(broken, 2)[1]["adapter_sha256"] == marker(whole)[1]["adapter_sha256"]
    sizes = [
        (m["micro_batches"], len(m["sample_ids"]))
        for m in payloads(whole, "metric", 1)
        if "loss" in m
    ]
    assert any(micro < samples for micro, samples in sizes)
    tokens = {m["grouped_tokens"] for m in payloads(whole, "metric", 1) if "loss" in m}
    assert (min(tokens) > 0) == grouped
    manifest = whole.manifest(checkpoint(whole.checkpoints()[-1])) or {}
    assert [manifest["grouped_tokens"]] == list(tokens)
    (stage,) = [
        s["detail"]
        for s in payloads(whole, "stage", 1)
        if s["name"] == "training" and s["status"] == "finished"
    ]
    assert stage["scored_tokens"] == [stage["supervised_tokens_per_epoch"]] * 2


def test_changed_data_is_refused_before_training(tmp_path: Path) -> None:
    folder = job(tmp_path)
    folder.write_bytes("data/train.jsonl", folder.read_bytes("data/train.jsonl") + b"\n")
    assert run_pod(folder, tiny_models()) == 1
    name, content = marker(folder)
    assert (name, content["code"]) == (FAILED, "storage")
    assert payloads(folder, "error")[0]["code"] == "storage"
    assert payloads(folder, "metric") == []


def test_an_unprepared_base_model_is_named_with_its_cache(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    assert run_pod(folder, tmp_path / "empty") == 1
    content = marker(folder)[1]
    assert content["code"] == "configuration"
    assert str(tmp_path / "empty") in content["message"]
