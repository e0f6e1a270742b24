"""A checkpoint's files are those of the HF Trainer, and hold the moment when they were taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from trainer_run import PLAIN, Run, Unsaved
from transformers import Trainer

from trainer import snapshot
from trainer.resuming import STATE, STATES, WEIGHTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


@pytest.fixture(scope="module", params=["fp32", "nf4"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    values = PLAIN.model_copy(update={"precision": request.param})
    return Run(tmp_path_factory.mktemp("run"), values, training=6)


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and list(one) == list(other)
            and all(same(part, other[key]) for key, part in one.items())
        )
    return one == other


def test_it_writes_what_the_hf_trainer_writes_and_nothing_changes_it_later(
    run: Run, tmp_path: Path
) -> None:
    trainer, mine = run.trainer, tmp_path / "mine"
    mine.mkdir()
    taken = snapshot.take(trainer)
    Trainer._save_checkpoint(trainer, trainer.model, None)
    (theirs,) = Path(trainer.args.output_dir).glob("checkpoint-*")
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
        for state in trainer.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()
    taken.write(mine)
    assert (mine / WEIGHTS).read_bytes() == (theirs / WEIGHTS).read_bytes()
    for name in ("adapter_config.json", STATE):
        one, other = (json.loads((at / name).read_bytes()) for at in (mine, theirs))
        # Of the trainer's callbacks nobody restores anything.
        one.pop("stateful_callbacks", None), other.pop("stateful_callbacks", None)
        assert one == other, name
    for name in set(STATES) - {"rng_state.pth"}:
        one, other = (torch.load(at / name, weights_only=True) for at in (mine, theirs))
        assert same(one, other), name
    assert {path.name for path in theirs.iterdir()} - {path.name for path in mine.iterdir()} == {
        "README.md", "training_args.bin", "rng_state.pth",
    }  # fmt: skip


class FullDisk(Unsaved):
    """What it was given, by step; the disk was full after step 1, so that one is lost."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    @property
    def lost(self) -> bool:  # type: ignore[override]
        return not self.steps or self.steps[-1] == 1

    def save(self, local: Path, step: int, *_: object) -> None:
        self.steps.append(step)


def test_after_a_checkpoint_that_could_not_be_written_the_next_step_is_due(tmp_path: Path) -> None:
    values = PLAIN.model_copy(update={"pairs_per_step": 4})
    saver = FullDisk()
    run = Run(tmp_path, values, training=6, saver=saver)
    # The schedule asks for none: step 1 because the saver begins with a loss, step 2 after it.
    assert len(run.losses) == 3
    assert saver.steps == [1, 2]
