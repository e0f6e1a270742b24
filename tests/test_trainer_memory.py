"""Out of memory at any step: smaller pieces of the same step, the same result, or a clear end."""

from __future__ import annotations

import re
import weakref
from pathlib import Path
from typing import Any, cast

import pytest
from trainer_jobs import SMALL, lay_out, payloads, tiny_models

from brightrun import basemodels
from brightrun.errors import OutOfMemory
from brightrun.jobs import Hyperparameters, JobSpec
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from trainer import hardware, memory
from trainer.batches import Cut
from trainer.calibrate import Size
from trainer.memory import Fit

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]
CUDA_WORDS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB"
# Three steps of five conversations: no dropout, because its random numbers depend on the cut.
PLAIN = SMALL.model_copy(
    update={"epochs": 1, "pairs_per_step": 12, "lora_dropout": 0.0, "precision": "fp32"}
)


def test_first_the_micro_batch_is_halved_then_rows_are_unpacked_then_all_is_recomputed() -> None:
    fit: Fit | None = Fit(Cut(4, row=512), kept=900)
    seen = []
    while fit := fit.smaller() if fit else None:
        seen.append((fit.cut.micro_batch, fit.cut.row, fit.kept))
    assert seen == [(2, 512, 900), (1, 512, 900), (1, None, 900), (1, None, 0)]
    assert Fit(Cut(1), kept=None).smaller() is None
    assert Fit(Cut(1), kept=0).smaller() is None


def test_a_resume_keeps_the_micro_batch_that_an_out_of_memory_has_left() -> None:
    assert memory.resumed(4, False, None, False) == (4, "")
    assert memory.resumed(4, False, 2, True) == (2, "")
    for asked, same in ((True, True), (False, False)):
        micro_batch, why = memory.resumed(4, asked, 2, same)
        assert micro_batch == 4
        assert "no longer bit-exact" in why


class Run:
    """One training on `tiny` in this process."""

    def __init__(self, place: Path, values: Hyperparameters = PLAIN, **seams: Any) -> None:
        import torch

        from trainer import data, loading
        from trainer.checkpoints import Schedule
        from trainer.course import Course
        from trainer.labelled import Work
        from trainer.narrator import Narrator
        from trainer.reporter import Reporter
        from trainer.stall import StallWatch
        from trainer.train import train

        torch.set_num_threads(1)
        models = tiny_models()
        self.folder: RunFolder = lay_out(place / "job", models, values, training=12)
        spec = JobSpec.model_validate(self.folder.read_json("spec.json")["spec"])
        base_folder = basemodels.prepared_folder("tiny", models)
        loaded = data.load(self.folder, spec, ChatTokenizer.load(base_folder))
        names = [sample.sample_id for sample in loaded.training]
        plan = data.steps(values.seed, values.epochs, spec.conversations_per_step, names)
        counts = [sum(loaded.training[at].supervised for at in step) for step in plan]
        reporter = Reporter(self.folder, 1, {})
        narrator = Narrator(
            reporter,
            Schedule(100, 100.0, 10**6, 0),
            loaded.held_out,
            frozenset(),
            spec.steps_per_epoch,
            None,
            Course(counts, spec.steps_per_epoch),
            StallWatch(lambda error: None),
        )
        work = Work(
            spec, loaded.training, plan, place / "scratch", None, lambda: None,
            **{"activation_tokens": 1 << 20, **seams},
        )  # fmt: skip
        precision = values.precision
        made = loading.decide(
            hardware.place(),
            base_folder,
            basemodels.profile(base_folder),
            values,
            400,
            spec.optimizer,
            {},
        )
        base = loading.load_base(base_folder, precision, made)
        try:
            self.model = train(work, base, narrator, cast(Any, None))  # nothing is due to be saved
        finally:
            reporter.flush()
        self.losses = [m["loss"] for m in payloads(self.folder, "metric")]
        parameters = self.model.named_parameters()
        self.adapter = torch.cat([p.detach().flatten() for n, p in parameters if "lora" in n])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed"), cut=Cut(4))


# The CPU allocator's words are a RuntimeError too: see test_trainer_decisions.
@pytest.mark.parametrize(("kind", "words"), [(RuntimeError, CUDA_WORDS), (MemoryError, "")])
def test_a_step_that_does_not_fit_is_done_again_smaller_with_the_same_result(
    undisturbed: Run, tmp_path: Path, kind: type[Exception], words: str
) -> None:
    calls = 0
    failed: list[Any] = []
    freed: list[bool] = []

    def allocate(batch: Any) -> None:
        nonlocal calls
        calls += 1
        freed.extend(tensor() is None for tensor in failed)
        # The second micro-batch of the second step: a part of its gradient is there already.
        if calls == 4:
            failed.append(weakref.ref(batch.ids))
            raise kind(words)

    run = Run(tmp_path, cut=Cut(4), before_micro_step=allocate)
    assert freed
    assert all(freed)
    assert run.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    distance = (run.adapter - undisturbed.adapter).norm() / undisturbed.adapter.norm()
    assert distance < 1e-4
    (warning,) = payloads(run.folder, "warning")
    assert warning["code"] == "out_of_memory"
    assert warning["micro_batch"] == [4, 2]
    assert "step 2" in warning["message"]
    micro = [m["micro_batches"] for m in payloads(run.folder, "metric")]
    assert micro[0] < micro[1]


def test_when_one_sequence_does_not_fit_the_error_has_numbers_and_an_adjustment(
    tmp_path: Path,
) -> None:
    def never(batch: Any) -> None:
        raise RuntimeError(CUDA_WORDS)

    values = PLAIN.model_copy(update={"gradient_checkpointing": False})
    with pytest.raises(OutOfMemory) as error:
        Run(tmp_path, values, cut=Cut(4), before_micro_step=never)
    assert error.value.adjustment == {"gradient_checkpointing": True}
    assert error.value.fix == "retry with --set gradient_checkpointing=True"
    for number in (r"step 1 does not fit at micro-batch 1", r"\d+ tokens", r"[\d.]+ GB"):
        assert re.search(number, error.value.message)
    assert CUDA_WORDS in error.value.message
    folder = RunFolder((tmp_path / "job").as_uri(), "job-1")
    assert [w["micro_batch"] for w in payloads(folder, "warning")] == [[4, 2], [2, 1]]


def test_other_runtime_errors_are_not_tried_again(tmp_path: Path) -> None:
    calls = []

    def broken(batch: Any) -> None:
        calls.append(batch)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Run(tmp_path, cut=Cut(4), before_micro_step=broken)
    assert len(calls) == 1


def test_every_micro_step_is_told_and_padding_counts_as_computed(tmp_path: Path) -> None:
    told: list[tuple[Size, float]] = []
    run = Run(tmp_path, cut=Cut(4), on_step=lambda done, fit: told.extend(done))
    metrics = payloads(run.folder, "metric")
    assert len(told) == sum(m["micro_batches"] for m in metrics)
    assert all(seconds > 0 and size.squares >= size.tokens for size, seconds in told)
    computed = sum(size.tokens for size, _ in told)
    assert computed >= sum(m["tokens"] for m in metrics)
    padded = sum(m["tokens"] / (1 - m["padding_share"]) for m in metrics)
    assert computed == pytest.approx(padded, rel=1e-3)
    for metric in metrics:
        parts = metric["parts_s"]
        assert list(parts) == ["data", "forward", "backward", "optimizer", "checkpoint"]
        assert 0 < parts["forward"] + parts["backward"] <= metric["seconds"]
        assert metric["mfu"] is None
