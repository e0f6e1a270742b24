"""Tasks of lm-eval beside our own questions: read, planned, scored as the harness does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from brightrun import basemodels
from brightrun.errors import EvaluationError
from brightrun.runfolder import RunFolder
from evals import harness
from evals.harness import HarnessItem, scores
from evals.own import Asked, asked, of_folder

DOCS = [
    {"ask": "What is a bond?", "choices": ["A loan", "A share of a company"], "right": 0},
    {"ask": "What is a 401(k)?", "choices": ["A tax form", "A pension plan", "Gold"], "right": 1},
    {"ask": "Debt is", "choices": ["owed", "owned"], "right": 0},
]
YAML = """task: ours
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{ask}}}} "
doc_to_choice: choices
doc_to_target: right
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def item(number: int, right: int, **more: Any) -> HarnessItem:
    pairs = (("Q", " yes"), ("Q", " certainly not"))
    return HarnessItem(
        item_id=f"ours/{number}", task="ours", requests=pairs, right=(right,), lengths=(3, 13),
        **more,
    )  # fmt: skip


def task(place: Path, kind: str = "multiple_choice") -> Path:
    data = place / "docs.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS))
    file = place / "ours.yaml"
    file.write_text(YAML.format(data=data, kind=kind))
    return file


def test_the_likeliest_choice_is_the_answer_and_length_may_be_taken_out() -> None:
    items = [item(0, 0, by_length=True), item(1, 1, by_length=True)]
    logs = {("trained", f"ours/{n}"): (-3.0, -6.5) for n in range(2)}
    assert scores(items, logs, "trained") == {
        "accuracy, lm-eval ours": [1.0, 0.0],
        "accuracy, lm-eval ours, per character": [0.0, 1.0],
    }
    assert list(scores([item(0, 0)], logs, "trained")) == ["accuracy, lm-eval ours"]


def test_the_pod_sees_what_is_asked_and_no_key(tmp_path: Path) -> None:
    from brightrun.jobs import PRESETS, Preset
    from evals.plan import HARNESS, make_plan

    ours = asked(3, 3)
    tested = Asked(ours.scenarios, ours.questions, ("harness.jsonl",), (item(0, 1), item(1, 0)))
    values = PRESETS[Preset.demo].values
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    tested.write(folder)
    plan = make_plan(values, "Be kind.", tested=tested)
    plan.write(folder)
    row = folder.read_jsonl(HARNESS)[0]
    assert row == {"item_id": "ours/0", "requests": [["Q", " yes"], ["Q", " certainly not"]]}
    assert plan.facts["n"]["harness_items"] == 2
    assert of_folder(folder).harness == tested.harness
    assert harness.tokens(folder.read_jsonl(HARNESS)) == round(40 / 4.66)
    assert HARNESS not in make_plan(values, "Be kind.").files()


def test_without_the_harness_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(EvaluationError, match="lm-eval is not here") as told:
        asked(1, 1, {"lm_eval": "mmlu_anatomy"})
    assert "pip install '.[lm-eval]'" in told.value.fix


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_task_in_a_file_gives_what_the_harness_itself_gives(tmp_path: Path) -> None:
    """pip install '.[lm-eval]'; nothing is fetched."""
    simple_evaluate = pytest.importorskip("lm_eval").simple_evaluate
    manager = pytest.importorskip("lm_eval.tasks").TaskManager(include_defaults=False)
    import torch
    from trainer_jobs import tiny_models
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from brightrun.tokens import ChatTokenizer
    from trainer.harness import pair_of, sample
    from trainer.likelihoods import summed

    file = task(tmp_path)
    items = harness.read(str(file))
    assert [len(one.requests) for one in items] == [2, 3, 2]
    assert [one.right for one in items] == [(0,), (1,), (0,)]
    folder = basemodels.prepared_folder("tiny", tiny_models())
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokenizer = ChatTokenizer.load(folder)
    logs = {}
    with torch.no_grad():
        for one in items:
            pairs = [pair_of(tokenizer, *request) for request in one.requests]
            found = summed(model, [sample(*pair, 8192) for pair in pairs])
            logs["baseline", one.item_id] = tuple(-row["nll"] for row in found)
    theirs = pytest.importorskip("lm_eval.models.huggingface").HFLM(
        pretrained=model, tokenizer=AutoTokenizer.from_pretrained(str(folder)), batch_size=1
    )
    result = simple_evaluate(theirs, tasks=[str(file)], task_manager=manager, log_samples=True)
    for sampled in result["samples"]["ours"]:
        sums = [float(one[0]) for one in sampled["filtered_resps"]]
        ours = logs["baseline", f"ours/{sampled['doc_id']}"]
        assert sums == pytest.approx(ours, abs=1e-3)
    mine = scores(items, logs, "baseline")
    for name, metric in (("", "acc,none"), (", per character", "acc_norm,none")):
        accuracy = sum(mine[f"accuracy, lm-eval ours{name}"]) / len(items)
        assert accuracy == pytest.approx(result["results"]["ours"][metric])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_task_of_written_answers_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    file = task(tmp_path, "loglikelihood")
    with pytest.raises(EvaluationError, match="of type loglikelihood, not multiple_choice"):
        harness.read(str(file))
    with pytest.raises(EvaluationError, match="cannot load no_such_task"):
        harness.read("no_such_task")
