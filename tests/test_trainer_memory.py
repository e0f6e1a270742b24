"""Out of memory at any step: smaller pieces of the same step, the same result, or a clear end."""

from __future__ import annotations

import contextlib
import re
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from trainer_jobs import payloads
from trainer_run import PLAIN, Run

from brightrun.errors import OutOfMemory
from brightrun.physics import LLAMA_3_70B
from brightrun.runfolder import RunFolder
from brightrun.situation import harmless
from trainer import choices, memory
from trainer.batches import Cut
from trainer.calibrate import Size
from trainer.data import Sample
from trainer.memory import Fit
from trainer.wishes import Choice, Place, Wish

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]
TWICE = {"gradient_checkpointing": True, "activation_tokens": 0}
CUDA_WORDS = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB"


def test_first_the_micro_batch_is_halved_then_rows_are_unpacked_then_all_is_recomputed() -> None:
    fit: Fit | None = Fit(Cut(4, row=512), kept=900)
    seen = []
    while fit := fit.smaller(400) if fit else None:
        seen.append((fit.cut.micro_batch, fit.cut.row, fit.kept))
    assert seen == [(2, 512, 900), (1, 512, 900), (1, None, 900), (1, None, 0)]
    assert Fit(Cut(1), kept=None).smaller(400) is None
    assert Fit(Cut(1), kept=0).smaller(400) is None


def test_the_tokens_of_grouped_sequences_are_halved_down_to_the_longest_then_each_is_alone() -> (
    None
):
    tried = [Fit(Cut(2, tokens=8192), kept=None)]
    while smaller := tried[-1].smaller(1500):
        tried.append(smaller)
    assert [(fit.cut.micro_batch, fit.cut.tokens) for fit in tried] == [
        (2, 8192), (2, 4096), (2, 2048), (1, 0),
    ]  # fmt: skip
    assert tried[0].words() == "up to 8192 tokens at once"
    assert Fit(Cut(1, tokens=700), None).smaller(700) == Fit(Cut(1), None)


def test_a_resume_divides_its_steps_as_an_out_of_memory_has_left_them() -> None:
    assert memory.resumed(Cut(4), False, None, False) == (Cut(4), "")
    assert memory.resumed(Cut(4), False, Cut(2), True) == (Cut(2), "")
    for asked, same in ((True, True), (False, False)):
        cut, why = memory.resumed(Cut(4), asked, Cut(2), same)
        assert cut == Cut(4)
        assert "goes on with micro-batch 4, before the resume it was micro-batch 2" in why
        assert "no longer bit-exact" in why


HERE, THERE = {"device": "NVIDIA H100"}, {"device": "NVIDIA A100"}
FOUR = {"hardware": HERE, "micro_batch": 4, "packed": False, "grouped_tokens": 0}
MANY = {**FOUR, "grouped_tokens": 2048}


@pytest.mark.parametrize(
    ("grouped", "asked", "manifest", "expected", "exact"),
    [
        (True, False, {}, Cut(2, None, 4096), True),
        (False, False, {}, Cut(2), True),
        # As before on the same machine, whatever would be chosen now.
        (True, False, MANY, Cut(4, None, 2048), True),
        (False, False, MANY, Cut(4, None, 2048), True),
        (True, False, FOUR, Cut(4), True),
        (True, False, {"hardware": HERE, "micro_batch": 4, "packed": False}, Cut(4), True),
        # Another machine, or asked by the launch.
        (True, False, {**FOUR, "hardware": THERE}, Cut(2, None, 4096), False),
        (False, True, MANY, Cut(2), False),
        (True, True, FOUR, Cut(2, None, 4096), False),
        (True, True, {**MANY, "micro_batch": 2, "grouped_tokens": 4096}, Cut(2, None, 4096), True),
    ],
)
def test_a_resume_that_changes_the_grouping_says_that_it_is_not_exact(
    *, grouped: bool, asked: bool, manifest: dict[str, Any], expected: Cut, exact: bool
) -> None:
    from trainer.prepared import Prepared

    made = choices.choose(
        Place("cuda", 80, "H100", (9, 0)), LLAMA_3_70B,
        Wish("nf4", 16, 1800, True, "paged_adamw_32bit", "llama"),
        {"micro_batch": 2, "grouped": grouped},
    )  # fmt: skip
    made = replace(made, grouped_tokens=Choice(4096, "what fits"))
    ids = tuple(range(1800))
    one = Sample("a", "a", "", ids, ids, (True,) * 1800)
    prepared = Prepared(cast(Any, None), Path(), {}, cast(Any, None), [one], [], [[0]])
    cut, why = prepared.cut(made, asked, manifest, HERE)
    assert cut == expected
    assert (why == "") == exact
    assert exact or "no longer bit-exact" in why
    # Packed rows are filled already, and a conversation longer than what fits is computed alone.
    packed = replace(made, packed=Choice(2048, "asked for"))
    assert prepared.cut(packed, asked, {}, HERE)[0] == Cut(2, 2048)
    rows = {"hardware": HERE, "micro_batch": 2, "packed": True, "grouped_tokens": 0}
    assert prepared.cut(packed, False, {**rows, "row": 1900}, HERE) == (Cut(2, 1900), "")
    assert prepared.cut(packed, False, rows, HERE) == (Cut(2, 2048), "")  # an older checkpoint
    unpacked = {**rows, "packed": False, "row": None}  # by an out of memory
    assert prepared.cut(packed, False, unpacked, HERE)[0].row is None
    few = replace(made, grouped_tokens=Choice(300, "little fits"))
    assert prepared.cut(few, asked, {}, HERE)[0].tokens == (1800 if grouped else 0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed"), validated=(2,), cut=Cut(4))


def test_every_step_first_asks_whether_the_storage_keeps_up_until_it_does(
    undisturbed: Run,
) -> None:
    assert undisturbed.saver.asked == 1 + len(undisturbed.losses)


def refused(once: Any, call: int) -> Any:
    """`once`, which is out of memory at its `call`th call, and only then."""
    calls = 0

    def allocate(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise RuntimeError(CUDA_WORDS)
        return once(*args, **kwargs)

    return allocate


# The CPU allocator's words are a RuntimeError too: see test_trainer_decisions.
def test_a_step_that_does_not_fit_is_done_again_smaller_with_the_same_result(
    undisturbed: Run, tmp_path: Path
) -> None:
    calls = 0
    failed: list[Any] = []
    freed: list[bool] = []

    def allocate(what: str, batch: Any) -> None:
        nonlocal calls
        if what != "micro-step":
            return
        calls += 1
        freed.extend(tensor() is None for tensor in failed)
        # The second micro-batch of the second step: a part of its gradient is there already.
        if calls == 4:
            failed.append(weakref.ref(batch.ids))
            raise MemoryError

    run = Run(tmp_path, cut=Cut(4), allocate=allocate)
    assert freed
    assert all(freed)
    assert run.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    distance = (run.adapter - undisturbed.adapter).norm() / undisturbed.adapter.norm()
    assert distance < 1e-4
    (warning,) = payloads(run.folder, "warning")
    assert warning["code"] == "out_of_memory"
    assert warning["micro_batch"] == [4, 2]
    assert (warning["grouped_tokens"], warning["kept"]) == ([0, 0], [1 << 20, 1 << 20])
    assert "step 2" in warning["message"]
    micro = [m["micro_batches"] for m in payloads(run.folder, "metric")]
    assert micro[0] < micro[1]


def test_an_update_and_a_validation_that_do_not_fit_are_done_again_bit_for_bit(
    undisturbed: Run, tmp_path: Path
) -> None:
    """The first update when some moments are there, the second before it began, the validation of
    the second conversation."""
    seen: list[str] = []

    def allocate(what: str, needs: Any) -> None:
        seen.append(what)
        if what == "update" and seen.count(what) == 1:
            needs.init_state = refused(needs.init_state, 8)
        failing = {"update": 3, "validation": 2}
        if seen.count(what) == failing.get(what):
            raise RuntimeError(CUDA_WORDS)

    run = Run(tmp_path, validated=(2,), cut=Cut(4), allocate=allocate)
    assert [seen.count(what) for what in ("update", "validation")] == [3 + 2, 2 + 2]
    assert run.losses == undisturbed.losses
    assert run.validations == undisturbed.validations
    assert bool((run.adapter == undisturbed.adapter).all())
    told = [(w["code"], w["message"].split(" did not fit")[0]) for w in
            payloads(run.folder, "warning")]  # fmt: skip
    what = ("the update of step 1", "the update of step 2", "the validation after step 2")
    assert told == [("out_of_memory", words) for words in what]


@pytest.mark.parametrize("paged", [True, False])
def test_no_parameter_is_updated_twice_by_an_update_that_is_gone_on_with(
    torch: Any, monkeypatch: pytest.MonkeyPatch, *, paged: bool
) -> None:
    import bitsandbytes as bnb

    from trainer.optimizers import Update

    def made() -> Any:
        torch.manual_seed(1)
        parameters = [torch.nn.Parameter(torch.randn(20, 3)) for _ in range(6)]
        groups = [{"params": parameters[:3]}, {"params": parameters[3:]}]
        kind = bnb.optim.PagedAdamW32bit if paged else torch.optim.AdamW
        return kind(groups, lr=0.1, **({} if paged else {"fused": True}))

    def parameters(optimizer: Any) -> list[Any]:
        found = [p for group in optimizer.param_groups for p in group["params"]]
        for number, parameter in enumerate(found):
            parameter.grad = torch.full_like(parameter, number - 2.5)
        return found

    whole, broken = made(), made()
    for done in range(2):
        expected, found = parameters(whole), parameters(broken)
        whole.step()
        update = Update(broken, broken.step, done)
        if done == 0:
            with monkeypatch.context() as patch:
                patch.setattr(torch, "zeros_like", refused(torch.zeros_like, 10))
                with pytest.raises(RuntimeError, match="CUDA out of memory"):
                    update.run()
            assert update.may_go_on()
        update.run()
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    # All are counted, and yet it failed: nobody knows which were changed.
    parameters(broken)
    assert Update(broken, broken.step, 2).may_go_on()
    assert not Update(broken, broken.step, 1).may_go_on()


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("update", r"the update of step 1 by paged_adamw_32bit does not fit, [\d.]+ GB of memory"),
        ("validation", r"the validation after step 2 does not fit: its longest conversation has "
         r"\d+ tokens, [\d.]+ GB of memory are free, the pod used up to [\d.]+ GB"),
    ],
)  # fmt: skip
def test_what_never_fits_outside_of_a_step_is_told_with_its_place_and_its_numbers(
    tmp_path: Path, failing: str, words: str
) -> None:
    def allocate(what: str, needs: Any) -> None:
        if what == failing:
            raise MemoryError

    with pytest.raises(OutOfMemory, match=words) as error:
        Run(tmp_path, validated=(2,), cut=Cut(4), allocate=allocate)
    assert error.value.fault == "out_of_memory"
    assert error.value.fix


def test_an_update_that_a_gpu_cannot_hold_suggests_the_optimizer_that_can_leave_it() -> None:
    free = (1_000_000_000, 80_000_000_000)
    found = memory.update_too_large(1, "adamw_torch_fused", PLAIN, CUDA_WORDS, free)
    assert found.adjustment == {"optimizer": "paged_adamw_32bit"}
    assert "1.0 of the GPU's 80.0 GB are free" in found.message
    found = memory.update_too_large(1, "paged_adamw_32bit", PLAIN, CUDA_WORDS, free)
    assert found.adjustment == {"precision": "nf4"}


def test_a_choice_to_compute_nothing_twice_is_given_up_before_the_step_is(
    undisturbed: Run, tmp_path: Path
) -> None:
    """The spec allows it, this machine did not need it, by its estimate: what fits is the truth."""

    def allocate(what: str, needs: Any) -> None:
        # The first: as if all activations had to be kept. Afterwards nothing is in the way.
        if what == "micro-step" and not seen:
            seen.append(what)
            raise RuntimeError(CUDA_WORDS)

    seen: list[str] = []
    run = Run(
        tmp_path, cut=Cut(1), allocate=allocate, choices={"gradient_checkpointing": False},
        activation_tokens=sys.maxsize,
    )  # fmt: skip
    assert run.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    (warning,) = payloads(run.folder, "warning")
    assert "activations computed twice" in warning["message"]


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (Fit(Cut(4), 900), {"micro_batch": 2, "grouped": False}),
        (Fit(Cut(2, tokens=8192), 900), {"micro_batch": 1, "grouped": False}),
        (Fit(Cut(1, tokens=700), 0), {"micro_batch": 1, "grouped": False, **TWICE}),
        (Fit(Cut(1), 900), {"micro_batch": 1, "grouped": False, **TWICE}),
        (Fit(Cut(1), sys.maxsize), {"micro_batch": 1, "grouped": False, **TWICE}),
        (Fit(Cut(1), 0), {"precision": "nf4"}),
    ],
)
def test_a_process_without_memory_to_take_part_says_what_the_next_pod_begins_with(
    fit: Fit, expected: dict[str, Any]
) -> None:
    from trainer.distributed import LostStep

    error = LostStep(RuntimeError(CUDA_WORDS))
    found = memory.without_part(error, fit, 700, PLAIN)
    assert isinstance(found, OutOfMemory)
    assert found.adjustment == expected
    # What only the launch decides reaches the next pod unasked, all of it; the spec is a person's.
    assert harmless(expected) == ({} if "precision" in expected else expected)
    other = LostStep(RuntimeError("shapes"))
    assert memory.without_part(other, fit, 700, PLAIN) is other


def test_when_one_sequence_does_not_fit_the_error_has_numbers_and_an_adjustment(
    tmp_path: Path,
) -> None:
    def never(what: str, needs: Any) -> None:
        raise RuntimeError(CUDA_WORDS)

    values = PLAIN.model_copy(update={"gradient_checkpointing": False})
    with pytest.raises(OutOfMemory) as error:
        Run(tmp_path, values, cut=Cut(4), allocate=never)
    assert error.value.adjustment == {"gradient_checkpointing": True}
    assert error.value.fix == "retry with --set gradient_checkpointing=True"
    for number in (r"step 1 does not fit at micro-batch 1", r"\d+ tokens", r"[\d.]+ GB"):
        assert re.search(number, error.value.message)
    assert CUDA_WORDS in error.value.message
    folder = RunFolder((tmp_path / "job").as_uri(), "job-1")
    assert [w["micro_batch"] for w in payloads(folder, "warning")] == [[4, 2], [2, 1]]


def test_other_runtime_errors_are_not_tried_again(tmp_path: Path) -> None:
    calls = []

    def broken(what: str, needs: Any) -> None:
        calls.append(what)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Run(tmp_path, cut=Cut(4), allocate=broken)
    assert len(calls) == 1


def test_a_kernel_without_a_fixed_order_is_told_and_the_step_is_done_again(
    tmp_path: Path, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "some_backward_cuda does not have a deterministic implementation, but you set ..."
    asked: list[bool] = []

    @contextlib.contextmanager
    def kernel(on: bool) -> Iterator[None]:
        asked.append(on)
        yield
        if on:  # whenever it is asked to, as a real one
            raise RuntimeError(words)

    monkeypatch.setattr("trainer.libraries.in_fixed_order", kernel)
    run = Run(tmp_path, validated=(2,), cut=Cut(4), in_fixed_order=True)
    assert asked[0] is True
    assert not any(asked[1:])
    assert run.losses == undisturbed.losses
    assert (run.adapter == undisturbed.adapter).all()
    (warning,) = payloads(run.folder, "warning")
    assert (warning["code"], warning["step"]) == ("inexact_resume", 1)
    assert words in warning["cause"]


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
