"""What each training text does for the held-out ones: gradients of the loaded model."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trainer_jobs import IN_PROCESS, adapted, altered, bench, samples

from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer

pytestmark = IN_PROCESS


def test_gradients_that_do_not_fit_are_given_back_before_the_job_goes_on(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import feedback

    held: list[Any] = []
    still_held: list[Any] = []

    def too_large(*_: Any) -> Any:
        gradients = torch.zeros(1)
        held.append(weakref.ref(gradients))
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(feedback, "gradient", too_large)
    monkeypatch.setattr(feedback, "free_memory", lambda: still_held.append(held[0]()))
    folder, warned = RunFolder(tmp_path.as_uri(), "job-1"), []
    table = replace(
        bench(torch, adapted(torch)), folder=folder,
        reporter=SimpleNamespace(warn=lambda *said: warned.append(said[0])),
    )  # fmt: skip
    assert feedback.influence(table, [], [None]) == 0  # type: ignore[list-item]
    assert still_held == [None]
    assert warned == ["out_of_memory"]


def test_a_copy_of_the_held_out_text_helps_and_its_gradient_is_the_same(
    torch: Any, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    from trainer.feedback import drawn, influence

    model = altered(adapted(torch))
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    table = replace(
        bench(torch, model), folder=folder, check=lambda: None,
        reporter=SimpleNamespace(add=lambda *_: None),
    )  # fmt: skip
    made = samples(tokenizer, 3)
    assert influence(table, made, made[:1]) == 3
    found = folder.read_jsonl("measurements/influence.jsonl")
    rows = {r["conversation_id"]: r["cosine"] for r in found}
    assert rows["conversation-0"] == pytest.approx(1.0, abs=1e-4)
    assert -1 <= rows["conversation-2"] < 0.9999
    assert not any(p.grad is not None for p in model.parameters())
    assert {s.conversation_id for s in drawn(made, 7, 2)} == {
        s.conversation_id for s in drawn(made[::-1], 7, 2)
    }
