"""A package goes out only when its own model finds held-out answers as likely as was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_package
from report_jobs import evaluated_job
from test_reports_handing import JOB, scripted

from brightrun.context import JobContext
from brightrun.errors import ReportError
from brightrun.settings import CHECKOUT
from reports import proven
from tasks import as_measured, deploying
from tasks.as_measured import Row, Score
from trainer import likeness

KNOWN = {
    "a": {"baseline": {"nll": 300.0, "tokens": 100}, "trained": {"nll": 250.0, "tokens": 100}},
    "b": {"baseline": {"nll": 200.0, "tokens": 100}, "trained": {"nll": 199.0, "tokens": 100}},
}


@pytest.mark.parametrize(
    ("found", "off", "same"),
    [
        ([("a", 250.4, 100), ("b", 199.1, 100)], 0.004, True),
        ([("a", 300.0, 100)], 0.5, False),  # no adapter
        ([("a", 256.0, 100)], 0.06, False),  # too far from what was measured
        ([("a", 250.0, 99)], None, False),  # another tokenizer or template
        ([("b", 200.0, 100)], 0.01, True),  # too alike to tell an adapter from none
    ],
)
def test_close_to_what_was_measured_and_nearer_than_the_baseline(
    found: list[tuple[str, float, int]], off: float | None, same: bool
) -> None:
    rows = [{"id": name, "nll": nll, "tokens": tokens} for name, nll, tokens in found]
    verdict = as_measured.verdict(KNOWN, rows)
    assert verdict == {"conversations": len(rows), "off": off, "same": same}


def test_an_adapter_of_small_effect_must_still_be_nearer_than_none() -> None:
    known = {"a": {"baseline": {"nll": 103.0, "tokens": 100},
                   "trained": {"nll": 100.0, "tokens": 100}}}  # fmt: skip
    near = [{"id": "a", "nll": 101.0, "tokens": 100}]
    none = [{"id": "a", "nll": 102.0, "tokens": 100}]
    assert (as_measured.verdict(known, near) or {})["same"] is True
    assert (as_measured.verdict(known, none) or {})["same"] is False
    assert as_measured.verdict(known, []) is None


def measured_job(home: Path) -> JobContext:
    job = evaluated_job(JOB)
    scripted(job, "print('3 of 3 answers are the same')")
    rows = [{"model": model, "conversation_id": name, **row}
            for name, models in KNOWN.items() for model, row in models.items()]  # fmt: skip
    job.folder.write_jsonl("measurements/likelihood.jsonl", rows)
    said = [{"conversation_id": name, "messages": [{"role": "user", "content": name}]}
            for name in ("b", "a", "c")]  # fmt: skip
    job.folder.write_jsonl("data/validation.jsonl", said)
    return job


def answering(nll: float) -> Score:
    def score(folder: Path, base: Path, texts: Sequence[Row], room: Path) -> list[Row]:
        assert (folder / "inference.py").is_file()
        assert [t["id"] for t in texts] == ["b", "a"]
        return [{"id": "a", "nll": nll, "tokens": 100}]

    return score


def test_a_package_of_the_measured_model_may_go_out(home: Path) -> None:
    job = measured_job(home)
    found = deploying.check(job, score=answering(250.3))
    assert deploying.shown(found) == (
        "3 of 3 golden answers; as measured: 0.003 nats a token apart on 1 held-out conversation"
    )
    assert proven.golden_answers(job)


def test_a_package_of_another_model_is_refused_though_its_answers_are_its_own(home: Path) -> None:
    job = measured_job(home)
    with pytest.raises(ReportError, match=r"not the model that was evaluated.* 0\.500 nats"):
        deploying.check(job, score=answering(300.0))
    assert not proven.golden_answers(job)


def test_a_job_without_held_out_texts_is_checked_by_its_golden_answers(home: Path) -> None:
    job = measured_job(home)
    job.folder.remove("data/validation.jsonl")
    found = deploying.check(job, score=answering(300.0))
    assert deploying.shown(found) == "3 of 3 golden answers"
    assert proven.golden_answers(job)


def test_a_script_that_fails_is_told(home: Path, tmp_path: Path) -> None:
    (tmp_path / "inference.py").write_text("raise SystemExit('no torch here')")
    with pytest.raises(ReportError, match="cannot read held-out answers: no torch here"):
        as_measured.scored(tmp_path, tmp_path, [], tmp_path)


MESSAGES = [
    {"role": "system", "content": "You are a calm financial planner."},
    {"role": "user", "content": "I am afraid."},
    {"role": "assistant", "content": "It makes sense that you feel afraid."},
    {"role": "user", "content": "What now?"},
    {"role": "assistant", "content": "Let us look at one number together."},
]


class Letters:
    """ChatML with a token a letter; 0 begins a turn, 1 ends one."""

    ends = (1,)

    def __init__(self) -> None:
        self.tokenizer = self

    def messages(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return messages

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool, **more: Any
    ) -> dict[str, list[int]]:
        ids: list[int] = []
        for message in messages:
            ids += [0, *map(ord, f"{message['role']}\n{message['content']}"), 1, ord("\n")]
        return {"input_ids": ids + [0, *map(ord, "assistant\n")] * add_generation_prompt}


def test_the_words_of_every_answer_count_and_no_sign_of_the_template() -> None:
    ids, places = likeness.supervised(Letters(), MESSAGES)
    said = "".join(chr(ids[place]) for place in places)
    assert said == MESSAGES[2]["content"] + MESSAGES[4]["content"]
    assert likeness.supervised(Letters(), MESSAGES[:2])[1] == []


class Forgetful(Letters):
    """A template that writes earlier turns otherwise."""

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool, **more: Any
    ) -> dict[str, list[int]]:
        kept = messages if add_generation_prompt else messages[2:]
        return super().apply_chat_template(kept, add_generation_prompt=add_generation_prompt)


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    with pytest.raises(SystemExit, match="otherwise once another follows"):
        likeness.supervised(Forgetful(), MESSAGES)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_unpacked_package_reads_as_its_model_does(tmp_path: Path) -> None:
    """Against transformers by hand: the words of both answers, each after all before it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, base = tmp_path / "client", tmp_path / "base"
    tiny_package.make(base, folder)
    settings = {"dtype": "float32", "quantization": "none", "max_new_tokens": 8, "threads": 1}
    (folder / "generation.json").write_text(json.dumps(settings))
    (folder / "inference.py").write_bytes((CHECKOUT / "trainer/inference.py").read_bytes())
    spelled = [*MESSAGES[:2], {"role": "assistant", "content": "<|im_end|> is only text"}]
    texts: list[Any] = [{"id": "a", "messages": MESSAGES}, {"id": "b", "messages": spelled}]
    (found,) = as_measured.scored(folder, base, texts, tmp_path)

    tokenizer = AutoTokenizer.from_pretrained(str(base))
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32), str(folder)
    ).eval()
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    given = tokenizer(
        text, return_tensors="pt", add_special_tokens=False, return_offsets_mapping=True
    )
    with torch.inference_mode():
        chances = model(input_ids=given["input_ids"]).logits[0].log_softmax(-1)
    spans = [(text.index(m["content"]), text.index(m["content"]) + len(m["content"]))
             for m in MESSAGES if m["role"] == "assistant"]  # fmt: skip
    wanted = [n for n, (start, end) in enumerate(given["offset_mapping"][0].tolist())
              if any(start >= a and end <= b and end > start for a, b in spans)]  # fmt: skip
    nll = -sum(float(chances[n - 1, given["input_ids"][0, n]]) for n in wanted)
    assert found["tokens"] == len(wanted) > 8
    assert found["nll"] == pytest.approx(nll, rel=1e-4)
    assert found["id"] == "a"
