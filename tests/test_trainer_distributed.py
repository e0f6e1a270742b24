"""Several processes train like one: the same data, the same losses, one that writes.

The default suite has fsdp in NF4 as a whole pod, and the training alone with the model in each;
whole pods of the latter, and the usual starters, are in the slow suite.
"""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import (
    FORKS,
    ROOT,
    SMALL,
    environment,
    fork_pod,
    lay_out,
    log_of,
    payloads,
    run_pod,
    tiny_models,
    without_golden,
)
from trainer_run import PLAIN, Run
from waiting import until

from brightrun.jobs import Hyperparameters
from brightrun.runfolder import DONE, FAILED, STOPPED, RunFolder, checkpoint
from trainer.seat import Seat, take, visible

WEIGHTS = "adapter_model.safetensors"
# Dropout, 3 steps of 3, 3 and 1 conversations: shares of 2 and 1, and in the last step one of two
# processes has nothing to do.
QUICK = SMALL.model_copy(
    update={"epochs": 1, "pairs_per_step": 7, "precision": "fp32", "scenarios": 1,
            "questions": 1, "rotations": 1, "max_new_tokens": 8, "eval_points": 2}
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(folder: RunFolder, size: int, attempt: int = 1, **more: str) -> list[BaseProcess]:
    """The processes of a pod, numbered as torchrun numbers them."""
    port = str(free_port())
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    own: Callable[[int], dict[str, str]] = lambda n: {"RANK": str(n), "LOCAL_RANK": str(n)}  # noqa: E731
    return [
        fork_pod(folder, tiny_models(), attempt, **common, **own(number), **more)
        for number in range(size)
    ]


def end(processes: list[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join(240)
    return [process.exitcode for process in processes]


def steps_of(folder: RunFolder, attempt: int | None = None) -> dict[int, dict[str, Any]]:
    return {m["step"]: m for m in payloads(folder, "metric", attempt) if "loss" in m}


def validations(folder: RunFolder) -> list[float]:
    return [m["validation_loss"] for m in payloads(folder, "metric") if "validation_loss" in m]


def of(precision: str) -> Hyperparameters:
    return QUICK.model_copy(update={"precision": precision})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """The same job in one process, by precision."""

    @functools.cache
    def made(precision: str) -> RunFolder:
        place = tmp_path_factory.mktemp("alone")
        folder = without_golden(lay_out(place, tiny_models(), of(precision)))
        assert run_pod(folder, tiny_models()) == 0, log_of(folder)
        return folder

    return made


def files_of(folder: RunFolder) -> dict[str, set[str]]:
    """Names of the files of every checkpoint and of the adapter."""
    places = ["adapter", *(checkpoint(step) for step in folder.checkpoints())]
    return {place: set((folder.manifest(place) or {})["files"]) for place in places}


def reasons(folder: RunFolder) -> list[str]:
    """What was chosen, and why, as the events tell it."""
    loaded = [p["detail"] for p in payloads(folder, "stage") if p["name"] == "model_loading"]
    return [reason for detail in loaded for reason in detail.get("reasons", [])]


def assert_like(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same measurement, up to rounding and the clock."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name in ("nll", "nll_all", "logprobs"):
            assert found[name] == pytest.approx(value, abs=1e-3), name
        elif name != "seconds":
            assert found[name] == value, name


def assert_same(found: dict[int, dict[str, Any]], expected: dict[int, dict[str, Any]]) -> None:
    for step, metric in found.items():
        other = expected[step]
        assert metric["sample_ids"] == other["sample_ids"]
        assert metric["mfu"] is None  # no GPU here
        assert metric["supervised_tokens"] == other["supervised_tokens"]
        assert metric["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert metric["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("mode", "precision"),
    [
        ("fsdp", "nf4"),
        pytest.param("fsdp", "fp32", marks=pytest.mark.slow),
        pytest.param("ddp", "fp32", marks=pytest.mark.slow),
    ],
)
def test_two_processes_train_and_measure_like_one_and_one_of_them_writes(
    mode: str, precision: str, alone: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    folder = without_golden(lay_out(tmp_path, tiny_models(), of(precision)))
    processes = start(folder, 2, BRIGHTRUN_CHOICES=json.dumps({"parallel": mode}))
    assert end(processes) == [0, 0], log_of(folder)
    one = alone(precision)
    assert (folder.marker(1) or ("",))[0] == DONE
    found = sorted(steps_of(folder).items())
    assert [(step, len(m["sample_ids"])) for step, m in found] == [(1, 3), (2, 3), (3, 1)]
    assert_same(steps_of(folder), steps_of(one))
    assert validations(folder) == pytest.approx(validations(one), abs=1e-4)
    # One writer: every event, checkpoint and measurement is there once.
    numbers = [event.seq for event in folder.events(1)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len([m for m in payloads(folder, "metric") if "loss" in m]) == 3
    assert folder.checkpoints() == one.checkpoints()
    assert files_of(folder) == files_of(one)
    for name in ("likelihood", "knowledge", "answers"):
        relative = f"measurements/{name}.jsonl"
        for found, expected in zip(
            folder.read_jsonl(relative), one.read_jsonl(relative), strict=True
        ):
            assert_like(found, expected)
    held = [reason for reason in reasons(folder) if "are held here" in reason]
    assert len(held) == (mode == "fsdp")
    assert {n.split("-")[0] for n in folder.names("attempts/1/rank-1")} == {"log"}


NO_ORDER = "some_backward_cuda does not have a deterministic implementation, but you set ..."


def member(rank: int, port: int, place: Path, models: Path) -> None:
    """One of two processes that train the same; writes what it saw.

    In the third step, which leaves the other without work, a kernel of the first refuses.
    """
    from trainer.distributed import Group
    from trainer.libraries import quiet
    from trainer.lockstep import Apart

    quiet()
    group = Group(Seat(rank, 2, rank, f"tcp://127.0.0.1:{port}"))
    own = place / str(rank)
    started = [0]  # micro-steps begun here, by optimizer step

    def allocate(what: str, needs: Any) -> None:
        if what == "update":
            started.append(0)
        if what == "micro-step":
            started[-1] += 1
            if rank == 0 and len(started) == 3 and started[-1] == 1:
                raise RuntimeError(NO_ORDER)

    run = Run(
        own, PLAIN, (2,), models=models, group=group, pace=Apart(group), training=11,
        allocate=allocate, in_fixed_order=True,
    )  # fmt: skip
    seen = {"losses": run.losses, "validations": run.validations, "adapter": run.adapter.tolist(),
            "micro_steps": started, "warnings": payloads(run.folder, "warning")}  # fmt: skip
    (own / "seen.json").write_text(json.dumps(seen))
    group.close()


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
@pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes")
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_two_processes_with_the_whole_model_each_train_like_one(tmp_path: Path) -> None:
    port, models = free_port(), tiny_models()
    processes = [
        FORKS.Process(target=member, args=(rank, port, tmp_path, models)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    one = Run(tmp_path / "one", PLAIN, (2,), training=11)
    assert end(processes) == [0, 0]
    first, second = (
        json.loads((tmp_path / str(rank) / "seen.json").read_bytes()) for rank in (0, 1)
    )
    assert len(one.losses) == 3
    assert first["losses"] == pytest.approx(one.losses, abs=1e-4)
    assert first["validations"] == pytest.approx(one.validations, abs=1e-4)
    assert first["adapter"] == second["adapter"]
    assert first["adapter"] == pytest.approx(one.adapter.tolist(), abs=1e-3)
    # Both did the step again in any order, and said so.
    assert [seen["micro_steps"][2] for seen in (first, second)] == [2, 0]
    told = [warning for seen in (first, second) for warning in seen["warnings"]]
    assert [(w["code"], w["step"]) for w in told] == [("inexact_resume", 3)] * 2
    assert [w["cause"] for w in told] == [NO_ORDER, "a kernel of another process"]


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["torchrun", "accelerate"])
def test_the_usual_starters_start_the_same_entry_point(
    starter: str, alone: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    folder = without_golden(lay_out(tmp_path, tiny_models(), QUICK))
    command = {
        "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--master-addr",
                     "127.0.0.1", "--master-port", str(free_port()), "-m", "trainer"],
        # As on a machine with GPUs: for several processes on a CPU it would want MPI.
        "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                       "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
                       "--main_process_port", str(free_port()), "-m", "trainer"],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", *command[starter]], cwd=ROOT, env=environment(folder, tiny_models()),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder.marker(1) or ("",))[0] == DONE
    assert_same(steps_of(folder), steps_of(alone("fp32")))
    # Both took part: the second one has a log of its own.
    assert {n.split("-")[0] for n in folder.names("attempts/1/rank-1")} == {"log"}


@pytest.mark.slow
def test_checkpoints_of_two_processes_are_resumed_by_one_and_by_three(
    alone: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    folder = without_golden(lay_out(tmp_path, tiny_models(), QUICK))
    spread = json.dumps({"parallel": "fsdp"})
    first = start(folder, 2, BRIGHTRUN_CHOICES=spread, BRIGHTRUN_INTERRUPT_AT="2")
    assert end(first) == [-9, -9]
    assert run_pod(folder, tiny_models(), 2, BRIGHTRUN_INTERRUPT_AT="3") == -9
    warned = [w["message"] for w in payloads(folder, "warning", 2)]
    assert any("processes 2, fsdp -> 1" in message for message in warned)
    assert end(start(folder, 3, 3)) == [0, 0, 0], log_of(folder, 3)
    for attempt in (1, 2, 3):
        assert_same(steps_of(folder, attempt), steps_of(alone("fp32")))
    assert max(steps_of(folder, 3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_a_killed_run_with_a_spread_model_is_resumed_bit_for_bit(
    precision: str, tmp_path: Path
) -> None:
    chosen = json.dumps({"parallel": "fsdp"})
    values = of(precision)
    unbroken, killed = (
        without_golden(lay_out(tmp_path / name, tiny_models(), values)) for name in ("one", "two")
    )
    assert end(start(unbroken, 2, BRIGHTRUN_CHOICES=chosen)) == [0, 0], log_of(unbroken)
    broken = start(killed, 2, BRIGHTRUN_CHOICES=chosen, BRIGHTRUN_INTERRUPT_AT="2")
    assert end(broken) == [-9, -9]
    assert end(start(killed, 2, 2, BRIGHTRUN_CHOICES=chosen)) == [0, 0], log_of(killed, 2)
    expected = steps_of(unbroken)
    for attempt, steps in ((1, {1, 2}), (2, {2, 3})):
        found = steps_of(killed, attempt)
        assert found.keys() <= steps
        for step, metric in found.items():
            for name in ("loss", "grad_norm", "learning_rate", "sample_ids"):
                assert metric[name] == expected[step][name]
    assert 3 in steps_of(killed, 2)
    weights = [(f.manifest("adapter") or {})["files"][WEIGHTS] for f in (unbroken, killed)]
    assert weights[0] == weights[1]
    assert payloads(killed, "warning", 2) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_stop_is_noticed_by_all_and_the_last_step_is_kept(mode: str, tmp_path: Path) -> None:
    longer = QUICK.model_copy(update={"epochs": 8})
    folder = without_golden(lay_out(tmp_path, tiny_models(), longer))
    processes = start(folder, 2, BRIGHTRUN_CHOICES=json.dumps({"parallel": mode}))
    until(lambda: len(steps_of(folder)) >= 2, 120)
    folder.request_stop("pause", "a tester")
    assert end(processes) == [0, 0]
    assert folder.marker(1) == (STOPPED, {"reason": "pause", "by": "a tester"})
    assert folder.checkpoints()[-1] == max(steps_of(folder))


@pytest.mark.slow
def test_a_process_that_fails_says_why_and_ends_the_others(tmp_path: Path) -> None:
    folder = without_golden(lay_out(tmp_path, tiny_models(), QUICK))
    port = str(free_port())
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    leader = fork_pod(folder, tiny_models(), RANK="0", LOCAL_RANK="0", **common)
    other = fork_pod(
        folder, tiny_models(), RANK="1", LOCAL_RANK="1", BRIGHTRUN_CHOICES='{"speed": 9}', **common
    )
    assert end([leader, other]) == [1, 1]
    name, content = folder.marker(1) or ("", {})
    assert (name, content["code"]) == (FAILED, "configuration")
    assert "'speed'" in content["message"]


@pytest.mark.parametrize(
    ("costs", "size", "expected"),
    [
        ([5, 4, 3, 2], 2, [[0, 3], [1, 2]]),
        ([7], 3, [[0], [], []]),
        ([1, 1, 1, 1, 1], 2, [[0, 2, 4], [1, 3]]),
        ([], 2, [[], []]),
        ([3, 9, 1], 1, [[0, 1, 2]]),
    ],
)
def test_shares_are_even_in_tokens_and_cover_everything(
    costs: list[int], size: int, expected: list[list[int]]
) -> None:
    from trainer.distributed import shares

    assert shares(costs, size) == expected


def test_nobody_gives_up_on_a_process_that_waits_for_the_storage() -> None:
    from trainer.distributed import patience
    from trainer.patience import Limits

    for limits in (Limits.of(10, None), Limits.of(120, None), Limits.of(10, 36_000.0)):
        assert patience(limits.longest).total_seconds() >= limits.away + limits.lasting + 600


def test_a_seat_is_read_once_and_leaves_one_gpu_visible() -> None:
    environ = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1",
               "MASTER_PORT": "29500", "CUDA_VISIBLE_DEVICES": "4,6"}  # fmt: skip
    seat = take(environ)
    assert seat == Seat(3, 4, 1, "tcp://10.0.0.1:29500", "4,6")
    assert environ["CUDA_VISIBLE_DEVICES"] == "6"
    # What the leader starts when the others have gone has all of the GPUs.
    assert seat.whole_pod(environ)["CUDA_VISIBLE_DEVICES"] == "4,6"
    assert "CUDA_VISIBLE_DEVICES" not in Seat(0, 2).whole_pod({"CUDA_VISIBLE_DEVICES": "0"})
    assert Seat().whole_pod({"CUDA_VISIBLE_DEVICES": "2"}) == {"CUDA_VISIBLE_DEVICES": "2"}
    # accelerate must not find them, or it would wrap the model once more.
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(environ)
    assert take({}) == take({"WORLD_SIZE": "1", "RANK": "0"}) == Seat()
    assert take({}).leads
    assert [visible(None, 2), visible("0", 1), visible("GPU-a, GPU-b", 1)] == ["2", "", "GPU-b"]
    with pytest.raises(KeyError):
        take({"WORLD_SIZE": "2"})
