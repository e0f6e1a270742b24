"""The trainer's pure decisions: stop, number format, evaluation steps, batches, errors."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from brightrun.errors import (
    ConfigurationError,
    DatasetError,
    OutOfMemory,
    SpotInterrupted,
    StorageError,
    TrainerError,
)
from brightrun.jobs import Hyperparameters
from brightrun.outcomes import OWN_LIMIT
from brightrun.runfolder import RunFolder
from trainer import hub, packing
from trainer.control import (
    SIGTERM_GRACE,
    SIGTERM_LIMIT,
    Control,
    Stop,
    StopRequested,
    decide,
    grace,
)
from trainer.failures import explain, has_no_fixed_order
from trainer.pod import MissingVariable, Pod
from trainer.rebirth import LAST_WORDS_SECONDS

LEASE = {"expires": 100.0, "seconds": 60}
ENVIRONMENT = {
    "BRIGHTRUN_JOB_ID": "job-1",
    "BRIGHTRUN_ATTEMPT": "2",
    "STORAGE_URL": "file:///somewhere",
    "BRIGHTRUN_MODELS": "/models",
    "BRIGHTRUN_THREADS": "2",
}


def test_a_pod_stops_when_its_lease_has_run_out_or_when_it_is_asked() -> None:
    assert decide(None, None, 1e9) is None
    assert decide(LEASE, None, 99.0) is None
    assert decide(LEASE, None, 101.0) == Stop("lease")
    asked = decide(LEASE, {"reason": "budget", "by": "gate"}, 101.0)
    assert asked is not None
    assert asked.marker() == {"reason": "budget", "by": "gate"}


def test_a_lease_for_a_newer_attempt_stops_a_pod_at_once_and_before_everything_else() -> None:
    asked = {"reason": "pause", "by": "gate"}
    for attempt, newer in ((1, 2), (2, 9)):
        found = decide({**LEASE, "attempt": newer}, asked, 101.0, attempt)
        assert found == Stop("superseded", f"attempt {newer}")
    for attempt in (2, 3):
        assert decide({**LEASE, "attempt": 2}, None, 99.0, attempt) is None
    # A lease of any attempt, and a pod that does not know its own.
    assert decide(LEASE, None, 99.0, 5) is None
    assert decide({**LEASE, "attempt": 2}, None, 99.0) is None
    assert grace("superseded", 60) == 0


def test_a_pod_that_has_used_up_its_hours_stops_although_its_lease_is_renewed() -> None:
    assert decide(LEASE, None, 99.0, 1, left_s=0.1) is None
    spent = decide(LEASE, None, 99.0, 1, left_s=0.0)
    assert spent is not None
    assert spent.reason == "budget"
    newer = decide({**LEASE, "attempt": 2}, None, 99.0, 1, left_s=-1.0)
    assert newer == Stop("superseded", "attempt 2")


def test_the_pod_keeps_its_own_limit_without_a_control_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    control = Control(folder, lambda stop: None, 1, limit_hours=0.0)
    control._files()
    assert control.stop == Stop("budget", OWN_LIMIT)
    assert "docs/errors.md#time-limit" in capsys.readouterr().out
    with pytest.raises(StopRequested):
        control.check()


def test_a_lease_that_has_run_out_is_told_with_its_place_in_the_page_of_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    control = Control(folder, lambda stop: None, 1)
    folder.renew_lease("me", 60, datetime(2026, 1, 1, tzinfo=UTC), attempt=1)
    control._files()
    assert control.stop == Stop("lease")
    assert "docs/errors.md#lease-expired" in capsys.readouterr().out


def test_the_time_to_save_depends_on_why_a_pod_stops() -> None:
    assert grace("sigterm", 900) < SIGTERM_LIMIT < 5
    assert [grace("lease", seconds) for seconds in (10, 60, 900)] == [7.0, 7.5, 45.0]
    assert grace("budget", 60) == grace("pause", 60) == grace("cancel", 60) == 45.0


@pytest.mark.parametrize("before", ["", "cancel"])
def test_a_pod_is_gone_within_five_seconds_of_a_sigterm_by_its_own_clock(
    tmp_path: Path, before: str
) -> None:
    now = [100.0]
    control = Control(
        RunFolder(tmp_path.as_uri(), "job-1"), lambda stop: None, 1, clock=lambda: now[0]
    )
    assert (control.seconds_left(), control.last_words()) == (math.inf, LAST_WORDS_SECONDS)
    if before:
        control._notice(Stop(before))
        now[0] = 120.0
        assert control.seconds_left() > SIGTERM_LIMIT
    control.terminate()
    assert control.stop == Stop(before or "sigterm")
    assert control.seconds_left() == SIGTERM_GRACE
    # However late the watcher is, and a second signal: the last words end at the same moment.
    for late in (0.0, 0.5, 10.0):
        begun = 20.0 * bool(before) + 100.0
        now[0] = begun + SIGTERM_GRACE + late
        control.terminate()
        ends = now[0] + control.last_words() - begun
        assert ends == max(SIGTERM_LIMIT, SIGTERM_GRACE + late)
    assert control.last_words() == 0.0


def test_the_pod_reads_its_environment_and_names_what_is_missing() -> None:
    pod = Pod.from_environment({**ENVIRONMENT, "BRIGHTRUN_INTERRUPT_AT": "7"})
    assert pod.limit_hours == math.inf
    limited = Pod.from_environment({**ENVIRONMENT, "BRIGHTRUN_LIMIT_HOURS": "2.5"})
    assert limited.limit_hours == 2.5
    assert (pod.attempt, pod.threads, pod.interrupt_at) == (2, 2, 7)
    assert pod.storage_patience is None
    patient = Pod.from_environment({**ENVIRONMENT, "BRIGHTRUN_STORAGE_PATIENCE": "2.5"})
    assert patient.storage_patience == 2.5
    assert pod.folder("_DONE") == "attempts/2/_DONE"
    for name in ("BRIGHTRUN_JOB_ID", "BRIGHTRUN_ATTEMPT", "STORAGE_URL", "BRIGHTRUN_MODELS"):
        with pytest.raises(MissingVariable, match=name):
            Pod.from_environment({k: v for k, v in ENVIRONMENT.items() if k != name})
    with pytest.raises(MissingVariable, match="BRIGHTRUN_EXPECTED"):
        Pod.from_environment({**ENVIRONMENT, "BRIGHTRUN_EXPECTED": "{"})


def test_running_out_of_memory_is_explained_with_an_adjustment() -> None:
    values = Hyperparameters(gradient_checkpointing=False)
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ):
        found = explain(error, values, "training")
        assert isinstance(found, OutOfMemory)
        assert found.adjustment == {"gradient_checkpointing": True}
        assert "MB" in found.message
    smaller = explain(MemoryError(), Hyperparameters(precision="bf16"), "measuring")
    assert smaller.adjustment == {"precision": "nf4"}
    assert explain(MemoryError(), Hyperparameters(), "measuring").adjustment == {}
    untried = explain(MemoryError(), Hyperparameters(), "training")  # in the optimizer, say
    assert untried.adjustment == {"micro_batch": 1}
    assert "another pod" in untried.fix


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("x_cuda does not have a deterministic implementation, but you set"), True),
        (RuntimeError("Deterministic behavior was enabled with either `torch.use_deter"), True),
        (RuntimeError("CUDA error: the deterministic kernel met an illegal address"), False),
        (ValueError("x does not have a deterministic implementation"), False),
    ],
)
def test_only_torchs_refusals_mean_that_a_kernel_knows_no_fixed_order(
    error: Exception, *, expected: bool
) -> None:
    assert has_no_fixed_order(error) == expected


def test_packing_without_a_varlen_kernel_is_refused_on_a_gpu_and_slow_on_a_cpu() -> None:
    with pytest.raises(ConfigurationError) as error:
        packing.check(packing=True, row=0)
    assert error.value.fault == "packing_unsupported"
    assert "docs/errors.md#packing-unsupported" in str(error.value)
    packing.check(packing=True, row=512)
    for asked in (False, None):
        packing.check(packing=asked, row=0)


def test_other_exceptions_become_located_errors_and_ours_stay() -> None:
    ours = DatasetError("x")
    assert explain(ours, None, "training") is ours
    assert isinstance(explain(OSError(28, "No space left"), None, "training"), StorageError)
    found = explain(ValueError("shape"), None, "measuring")
    assert isinstance(found, TrainerError)
    assert found.message == "measuring: ValueError: shape"
    assert "peft" in explain(ModuleNotFoundError("no", name="peft"), None, "starting").message


@pytest.mark.parametrize(
    ("error", "fault", "family"),
    [
        (OSError(28, "No space left on device"), "disk_full", StorageError),
        (PermissionError(13, "denied"), "storage_denied", StorageError),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "gpu_ecc",
         SpotInterrupted),
        (RuntimeError("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus"), "gpu_lost",
         SpotInterrupted),
        (RuntimeError("NVRM: Xid (PCI:0000:3b:00): 94, Contained ECC error"), "gpu_ecc",
         SpotInterrupted),
        (RuntimeError("NVRM: Xid (PCI:0000:3b:00): 31, MMU fault"), "gpu_xid", SpotInterrupted),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error"), "nccl",
         SpotInterrupted),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "cuda",
         TrainerError),
        (RuntimeError("CUDA error: no kernel image is available for execution"), "cuda_driver",
         ConfigurationError),
        (RuntimeError("Error(s) in loading state_dict: size mismatch for lora_A.default.weight"),
         "adapter_incompatible", TrainerError),
        (ModuleNotFoundError("no", name="peft"), "package_missing", TrainerError),
        (ValueError("shape"), "trainer", TrainerError),
    ],
)  # fmt: skip
def test_every_failure_has_a_name(error: Exception, fault: str, family: type) -> None:
    found = explain(error, None, "training")
    assert found.fault == fault
    assert isinstance(found, family)
    assert found.cause
    assert found.fix
    assert f"docs/errors.md#{fault.replace('_', '-')}" in str(found)


def test_a_gpu_fault_is_seen_through_the_error_that_wraps_it() -> None:
    outer = ValueError("the step failed")
    outer.__cause__ = RuntimeError("CUDA error: unspecified launch failure")
    assert explain(outer, None, "training").fault == "gpu_lost"


def test_an_adapter_that_does_not_fit_is_told_with_its_shapes() -> None:
    """torch's first line names only the class of the model."""
    tensor = (
        "size mismatch for layers.{}.q_proj.lora_A.default.weight: torch.Size([4, 256]) - [8, 256]"
    )
    text = "\n\t".join(
        [
            "Error(s) in loading state_dict for PeftModelForCausalLM:",
            tensor.format(0),
            tensor.format(1),
        ]
    )
    found = explain(RuntimeError(text), None, "training")
    assert found.message == f"training: {tensor.format(0)} (and 1 more)"


def test_a_model_that_is_neither_cached_nor_fetched_names_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    monkeypatch.setenv(hub.VOLUME, str(tmp_path))
    offline = hub.explain("org/model", OfflineModeIsEnabled("offline"))
    assert f"neither in the cache {tmp_path / 'hub'} nor" in offline.message
    assert "HF_HUB_OFFLINE is set" in offline.message
    monkeypatch.delenv(hub.VOLUME)
    usual = hub.explain("org/model", ConnectionError("refused"))
    assert "cache /" in usual.message
    assert "not reached (ConnectionError)" in usual.message


def test_a_lease_that_cannot_be_understood_hides_no_request_and_the_known_one_runs_out(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    control = Control(folder, lambda stop: None, 1)
    folder.renew_lease("me", 60, datetime.now(UTC), attempt=1)
    assert control.owned()
    folder.write_json("control/lease.json", {"expires": "soon"})
    folder.request_stop("cancel", "Ann")
    control._files()
    assert control.stop == Stop("cancel", "Ann")
