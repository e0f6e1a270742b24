"""Dropout belongs to the sequences: whatever they are computed with, their masks are the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import IN_PROCESS, SMALL, altered, payloads, tiny_models
from trainer_run import Run

from brightrun import basemodels
from trainer import hardware
from trainer.batches import Cut, collate, cut
from trainer.data import Sample

pytestmark = [
    *IN_PROCESS,
    pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]
WIDTH = 333


def sample(name: str, length: int) -> Sample:
    return Sample(name, name, "", (1,) * length, (1,) * length, (True,) * length)


ONE, TWO, THREE = sample("one", 50), sample("two", 80), sample("three", 20)


def masks(
    torch: Any, rows: list[list[Sample]], seed: int = 7, step: int = 3, layer: int = 2,
    p: float = 0.2,
) -> dict[str, Any]:  # fmt: skip
    """Of every sequence in such a micro-batch."""
    from trainer.dropout import Now, SequenceDropout

    batch, now = collate(rows), Now(seed)
    with now.computing(step, batch):
        keep = SequenceDropout(p, layer, now).keep(torch.ones(*batch.ids.shape, WIDTH))
    assert keep.shape == (*batch.ids.shape, WIDTH)
    flat = keep.flatten(0, 1)
    return {span.name: flat[span.begin : span.end] for span in batch.spans}


def test_a_mask_is_the_same_alone_beside_others_padded_and_packed(torch: Any) -> None:
    alone = {name: found for s in (ONE, TWO, THREE) for name, found in masks(torch, [[s]]).items()}
    assert [len(found) for found in alone.values()] == [50, 80, 20]
    for rows in ([[TWO], [ONE], [THREE]], [[THREE, ONE, TWO]], [[ONE, THREE], [TWO]]):
        together = masks(torch, rows)
        assert together.keys() == alone.keys()
        assert all(torch.equal(together[name], alone[name]) for name in alone)


def test_every_sequence_step_layer_and_seed_has_a_mask_of_its_own(torch: Any) -> None:
    made = [
        masks(torch, [[sample("one", 50)]], **changed)["one"]
        for changed in ({}, {"seed": 8}, {"step": 4}, {"layer": 3})
    ]
    made.append(masks(torch, [[sample("other", 50)]])["other"])
    for first, second in combinations(made, 2):
        # Two independent ones differ in 2 x 0.2 x 0.8 of their entries.
        assert (first != second).float().mean().item() == pytest.approx(0.32, abs=0.02)
    keep = masks(torch, [[sample("long", 3000)]], p=0.1)["long"].float()
    assert keep.mean().item() == pytest.approx(0.9, abs=0.002)
    # No token and no entry is dropped more often than others.
    assert keep.mean(0).min() > 0.9 - 6 * (0.09 / 3000) ** 0.5
    assert keep.mean(1).min() > 0.9 - 6 * (0.09 / WIDTH) ** 0.5


def test_what_is_kept_is_scaled_and_nothing_is_dropped_outside_of_training(torch: Any) -> None:
    from trainer.dropout import Now, SequenceDropout

    now, batch = Now(7), collate([[ONE]])
    layer = SequenceDropout(0.2, 0, now)
    x = torch.full((1, 50, WIDTH), 3.0, requires_grad=True)
    with now.computing(1, batch):
        out, keep = layer(x), layer.keep(x)
        out.sum().backward()
    assert torch.allclose(out, torch.where(keep, 3.0 / 0.8, 0.0))
    assert torch.allclose(x.grad, torch.where(keep, 1 / 0.8, 0.0))
    assert layer.eval()(x) is x
    # Nobody's tokens (a process that only takes part): torch's generator, as torch's own dropout.
    torch.manual_seed(1)
    first, second = layer.train().keep(x), layer.keep(x)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(layer.keep(x), first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("how", "then"),
    [
        (Cut(2, row=1000), [Cut(1, row=1000), Cut(1)]),
        (Cut(1, tokens=4000), [Cut(1, tokens=2000), Cut(1, tokens=1000)]),
    ],
)
def test_rows_that_are_unpacked_and_groups_that_are_halved_keep_their_masks(
    undisturbed: Run, tmp_path: Path, how: Cut, then: list[Cut]
) -> None:
    """Out of memory twice: at once, and a little later."""
    calls: list[str] = []

    def allocate(what: str, needs: Any) -> None:
        calls.append(what)
        if what == "micro-step" and calls.count(what) in (1, 4):
            raise MemoryError

    run = Run(tmp_path, cut=how, allocate=allocate)
    assert run.losses == pytest.approx(undisturbed.losses, rel=1e-5)
    distance = (run.adapter - undisturbed.adapter).norm() / undisturbed.adapter.norm()
    assert distance < 1e-4
    told = [w["message"].partition("done again with ")[2] for w in payloads(run.folder, "warning")]
    assert told == [smaller.words() for smaller in then]


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_a_gradient_in_bf16_depends_on_the_cut_by_rounding_only(torch: Any, precision: str) -> None:
    from peft import LoraConfig, get_peft_model

    from trainer import dropout, loading, loss

    choices = {"dtype": "bfloat16"}
    folder = basemodels.prepared_folder("tiny", tiny_models())
    values = SMALL.model_copy(update={"precision": precision})
    made = loading.decide(
        hardware.place(), folder, basemodels.profile(folder), values, 1, "", choices
    )
    base = loading.load_base(folder, values.precision, made)
    torch.manual_seed(1)
    config = LoraConfig(r=8, lora_dropout=0.3, target_modules=["q_proj", "down_proj"])
    model = altered(get_peft_model(base.model, config))
    now = dropout.install(model.train(), 7)
    samples = [
        replace(
            sample(str(n), n), ids=tuple(range(100, 100 + n)), labels=tuple(range(100, 100 + n))
        )
        for n in (40, 38, 36, 33)
    ]

    def gradient(micro_batch: int, step: int = 1) -> Any:
        model.zero_grad()
        backbone, head = loading.parts(model)
        for batch in cut(samples, Cut(micro_batch)):
            with now.computing(step, batch), loading.computing(model, base.dtype):
                hidden = backbone(input_ids=batch.ids, use_cache=False).last_hidden_state
                states = hidden.flatten(0, 1).index_select(0, batch.places)
                loss.summed_nll(states, head, batch.targets).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])

    one, four, other = gradient(1), gradient(4), gradient(4, step=2)
    assert (four - one).norm() < 0.03 * one.norm()
    assert (other - one).norm() > 0.1 * one.norm()
