"""What a measurement must show on models whose answer is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trainer_jobs import IN_PROCESS, adapted, altered, bench, conversation, samples, tiny_models

from brightrun import baselines, basemodels
from brightrun.errors import ConfigurationError
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from evals import knowledge
from evals.likelihood import perplexity
from evals.measurements import Knowledge
from evals.sources import load_questions

pytestmark = IN_PROCESS


def test_a_model_that_knows_nothing_has_the_vocabularys_perplexity(
    torch: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer.likelihoods import plain, summed

    model = adapted(torch)
    head = model.get_base_model().get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.zeros_like(head.weight), requires_grad=False)
    text = plain(tokenizer, {"text_id": "n", "text": "The moon is far away from here."})
    for found in summed(model, [samples(tokenizer, 1)[0], text]):
        assert perplexity(found["nll"], found["tokens"]) == pytest.approx(head.out_features)


@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_an_adapter_that_was_never_trained_is_exactly_the_baseline(
    torch: Any, tokenizer: ChatTokenizer, precision: str
) -> None:
    from trainer.likelihoods import summed

    model = adapted(torch, precision)
    table, made = bench(torch, model), samples(tokenizer)
    found = []
    for name in table.models:
        with table.as_model(name):
            found.append(summed(model, made))
    assert found[0] == found[1]


def test_every_adapter_is_measured_as_itself(torch: Any, tokenizer: ChatTokenizer) -> None:
    from trainer.likelihoods import summed

    model, made = adapted(torch), samples(tokenizer, 1)
    model.add_adapter("control", model.peft_config["default"])
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1 if "control" in name else 0.05)
    table = bench(torch, model, ("baseline", "trained", "control"))
    found = []
    for name in (*table.models, *table.models):
        with table.as_model(name):
            found.append(summed(model, made)[0]["nll"])
    assert found[:3] == found[3:]
    assert len(set(found)) == 3


def test_neither_batch_nor_padding_changes_a_likelihood(
    torch: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer.likelihoods import summed

    model, made = adapted(torch), samples(tokenizer, 4)
    assert len({len(sample.ids) for sample in made}) > 1
    with torch.no_grad():
        together = summed(model, made)
        alone = [summed(model, [sample])[0] for sample in made]
    for one, other in zip(together, alone, strict=True):
        assert one["nll"] / one["tokens"] == pytest.approx(other["nll"] / other["tokens"], abs=1e-4)
        assert one["tokens_all"] == other["tokens_all"]


def test_what_the_options_of_a_question_share_is_read_once(
    torch: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer.likelihoods import in_common, loading, summed
    from trainer.questions import option_samples

    model = altered(adapted(torch))
    options = ["A loan", "A loan to a town", "Gold", "A long, long tax form"]
    made = option_samples(tokenizer, {"question": "What is a bond? " * 9, "options": options})
    ids = [sample.ids for sample in made]
    assert in_common(ids, "cpu") > 30
    assert in_common(ids, "cuda") == in_common(ids[:1], "cpu") == 0
    read: list[int] = []
    embedding = loading.parts(model)[0].get_input_embeddings()
    hook = embedding.register_forward_hook(lambda _, given, __: read.append(given[0].numel()))
    with torch.no_grad():
        together = summed(model, made)
        hook.remove()
        alone = [summed(model, [one])[0] for one in made]
    assert sum(read) < 0.6 * sum(len(one.ids) for one in made)
    for one, other in zip(together, alone, strict=True):
        assert one["nll"] / one["tokens"] == pytest.approx(other["nll"] / other["tokens"], abs=1e-4)
        assert one["tokens_all"] == other["tokens_all"]


def test_texts_are_grouped_by_padded_length() -> None:
    from trainer.likelihoods import grouped

    assert grouped(["a", "b", "c", "d"], [5, 9, 8, 1], 18) == [["b", "c"], ["a", "d"]]
    assert grouped(["a", "b"], [5, 9], 0) == [["b"], ["a"]]


@pytest.mark.slow
def test_an_adapter_that_learned_two_texts_by_heart_shows_it(
    torch: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer import loss
    from trainer.likelihoods import hidden_at_labels, loading, summed

    model, made = adapted(torch).train(), samples(tokenizer, 2)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2)
    for _ in range(200):
        states, targets, _ = hidden_at_labels(model, made)
        _, head = loading.parts(model)
        (loss.summed_nll(states, head, targets) / len(targets)).backward()
        optimizer.step()
        optimizer.zero_grad()
    table, values = bench(torch, model.eval()), []
    for name in table.models:
        with table.as_model(name):
            rows = summed(model, made)
        values.append(perplexity(sum(r["nll"] for r in rows), sum(r["tokens"] for r in rows)))
    assert values[1] < 0.2 * values[0]


@pytest.mark.parametrize("change", [lambda ids: ids[1:], lambda ids: ids[:1] + ids])
def test_a_lost_or_doubled_beginning_is_never_measured(
    torch: Any, tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    from trainer.answers import answer_all
    from trainer.questions import letter_prompt

    whole = tokenizer.prompt

    def broken(messages: Any) -> list[int]:
        return list(change(whole(messages)))

    monkeypatch.setattr(tokenizer, "prompt", broken)
    question = {"question": "Which?", "options": ["w0", "x1", "y2", "z3"]}
    with pytest.raises(ConfigurationError, match="begins with the tokens"):
        letter_prompt(tokenizer, question, [0, 1, 2, 3])
    asked = [{"scenario_id": "s", "messages": conversation(0)[:2]}]
    table: Any = SimpleNamespace(tokenizer=tokenizer, store=lambda *_: None)
    with pytest.raises(ConfigurationError, match="begins with the tokens"):
        answer_all(table, asked)


def right(letter_of: Any) -> float:
    """Accuracy over our questions of a model that prefers the letter `letter_of(order, answer)`."""
    from trainer.questions import order_of

    asked, credit = load_questions(), 0.0
    for question in asked:
        rows = []
        for rotation in range(4):
            order = order_of(rotation)
            logprobs = [-5.0] * 4
            logprobs[letter_of(order, question.answer)] = -0.1
            rows.append(
                Knowledge.model_validate(
                    {"model": "m", "question_id": question.question_id, "rotation": rotation,
                     "order": order, "logprobs": logprobs}
                )
            )  # fmt: skip
        credit += knowledge.choose(rows, question.answer).credit
    return credit / len(asked)


def test_always_the_first_letter_is_a_quarter_and_an_oracle_is_everything() -> None:
    assert right(lambda order, answer: 0) == pytest.approx(0.25)
    assert right(lambda order, answer: order.index(answer)) == 1.0


@pytest.mark.parametrize("same", [True, False])
def test_a_cached_baseline_counts_only_from_the_same_kind_of_machine(
    torch: Any, tmp_path: Path, same: bool
) -> None:
    from trainer import measure

    folder = RunFolder(tmp_path.as_uri(), "job-1")
    machine = {"threads": 1, "dtype": "torch.float32"}
    row = {"model": "baseline", "text_id": "n", "nll": 1.0}
    folder.write_jsonl(f"measurements/parts/neutral/{baselines.PART}", [row])
    there = machine if same else {**machine, "threads": 8}
    folder.write_json(baselines.CACHED, {"machine": there, "kinds": {"neutral": {}}})
    told: list[Any] = []
    nothing: Any = None
    reporter: Any = SimpleNamespace(add=lambda *event: told.append(event))
    table = measure.Bench(
        nothing, torch.float32, nothing, nothing, folder, 1, reporter, nothing, machine=machine
    )
    measure.reuse(table)
    assert table.store("neutral", "model", "text_id").has([("baseline", "n")]) is same
    assert ("earlier job" in told[0][1]["message"]) is same
    assert folder.exists(baselines.CACHED) is same
    assert folder.read_json(baselines.MACHINE) == machine


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_answers_of_an_earlier_attempt_stay_only_from_the_same_engine(
    torch: Any, tmp_path: Path, engine: str
) -> None:
    from trainer import measure

    folder = RunFolder(tmp_path.as_uri(), "job-1")
    folder.write_jsonl("measurements/parts/answers/0001-000001.jsonl", [{"model": "baseline"}])
    folder.write_json(baselines.MACHINE, {"answers_by": engine})
    machine = {"answers_by": "transformers"}
    measure.reuse(replace(bench(torch, None), folder=folder, machine=machine))
    assert folder.exists("measurements/parts/answers") is (engine == "transformers")


@pytest.mark.parametrize("same", [True, False])
def test_halves_of_another_machine_are_measured_anew(
    torch: Any, tmp_path: Path, same: bool
) -> None:
    """A difference between models is never one between machines."""
    from trainer import measure

    folder = RunFolder(tmp_path.as_uri(), "job-1")

    def part(name: str, *rows: tuple[str, str]) -> None:
        found = [{"model": model, "conversation_id": at, "nll": 1.0} for model, at in rows]
        folder.write_jsonl(f"measurements/parts/likelihood/{name}", found)

    part("0001-000001.jsonl", ("baseline", "a"), ("baseline", "b"), ("baseline", "c"))
    part("0001-000002.jsonl", ("trained", "a"), ("trained", "b"))
    part(baselines.PART, ("baseline", "b"))  # a cached baseline, of this machine
    machine = {"threads": 1, "answers_by": "transformers"}
    folder.write_json(baselines.CACHED, {"machine": machine, "kinds": {"likelihood": {}}})
    folder.write_json(baselines.MACHINE, machine if same else {**machine, "threads": 8})
    told: list[str] = []
    reporter: Any = SimpleNamespace(add=lambda _, payload: told.append(payload["message"]))
    table = replace(bench(torch, None), folder=folder, machine=machine, reporter=reporter)
    measure.reuse(table)
    store = table.store("likelihood", "model", "conversation_id")
    left = {("baseline", "a"), ("trained", "a"), ("baseline", "b")}
    halves = {("trained", "b"), ("baseline", "c")}
    assert set(store.rows) == (left | halves if same else left)
    assert ("3 rows of another machine" in told[-1]) is not same


def test_choices_of_lm_evals_tasks_are_read_in_plain_text_and_once(
    torch: Any, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    from trainer.harness import choices, pair_of, sample

    before, after = pair_of(tokenizer, "Debt is ", "owed")
    assert before == tokenizer.plain("Debt is")
    assert (*before, *after) == tokenizer.plain("Debt is owed")
    cut = sample((1, 2, 3), (4, 5), 4)
    assert (cut.ids, cut.labels[2:], cut.supervised) == ((2, 3, 4, 5), (4, 5), 2)
    told: list[Any] = []
    reporter = SimpleNamespace(add=lambda *event: told.append(event[1]["done"]))
    table = replace(
        bench(torch, adapted(torch)), folder=RunFolder(tmp_path.as_uri(), "job-1"),
        tokenizer=tokenizer, reporter=reporter, check=lambda: None,
    )  # fmt: skip
    item = {"item_id": "ours/0", "requests": [["Debt is ", "owed"], ["", "gold, all of it"]]}
    assert choices(table, [item]) == 2
    rows = table.folder.read_jsonl("measurements/harness.jsonl")
    assert [row["model"] for row in rows] == ["baseline", "trained"]
    # An adapter that was never trained changes nothing.
    assert rows[0]["logprobs"] == rows[1]["logprobs"]
    assert all(value < 0 for value in rows[0]["logprobs"])
    table = replace(table, check=lambda: pytest.fail("measured again"))
    assert choices(table, [item]) == 2


@pytest.mark.slow
def test_lm_evals_log_likelihoods_are_ours(torch: Any, tokenizer: ChatTokenizer) -> None:
    """The harness that everybody knows, on our token ids: pip install '.[lm-eval]'."""
    from trainer.likelihoods import summed
    from trainer.questions import option_samples

    harness = pytest.importorskip("lm_eval.models.huggingface")
    from transformers import AutoTokenizer

    model = altered(adapted(torch))
    folder = basemodels.prepared_folder("tiny", tiny_models())
    theirs = harness.HFLM(
        pretrained=model, tokenizer=AutoTokenizer.from_pretrained(str(folder)), batch_size=3
    )
    question = {
        "question": "What is a bond?",
        "options": ["A loan", "A share", "Gold", "A long, long tax form"],
    }
    made = option_samples(tokenizer, question)
    asked = []
    for sample in made:
        first = sample.content.index(True)
        last = len(sample.content) - sample.content[::-1].index(True)
        asked.append((("", ""), list(sample.ids[:first]), list(sample.ids[first:last])))
    found = theirs._loglikelihood_tokens(asked, disable_tqdm=True)
    with torch.no_grad():
        ours = [-one["nll"] for one in summed(model, made)]
    assert [value for value, _ in found] == pytest.approx(ours, abs=1e-3)
