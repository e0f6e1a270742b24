"""The gate's counts are those of the split that will be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import training_files as tf
from genuine_templates import byte_tokenizer

from brightrun.durations import Work
from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobSpec
from brightrun.quotes import work_of
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from expectations.snapshot import snapshot
from expectations.validation import validate_file
from tasks.sizing import as_split

TOKENIZER = ChatTokenizer(byte_tokenizer("chatml"), "chatml")
Rows = list[dict[str, Any]]


def split(place: Path, values: Hyperparameters) -> tuple[Work, Rows, Rows]:
    """Work as the gate counts it; the rows to train on, and those held out."""
    path = tf.write_json(place / "x.json", tf.document(9, 6))
    report = validate_file(path, tokenizer=TOKENIZER, max_length=values.max_length)
    folder = RunFolder((place / "storage").as_uri(), "j1")
    told = snapshot(path, report, folder, values, tokenizer=TOKENIZER)
    named = {k: told[k] for k in DataRef.model_fields.keys() & told.keys()}
    data = DataRef(name="x", train_sha256="a", validation_sha256="b", **named)
    base = BaseModelRef(name="tiny", context=8192, template="chatml")
    spec = JobSpec(base_model=base, data=data, values=values, plan_sha256="p", threads=2)
    rows = (folder.read_jsonl(f"data/{name}.jsonl") for name in ("train", "validation"))
    train, held = rows
    return as_split(work_of(report, values), spec, told), train, held


@pytest.mark.parametrize("sequence", ["conversation", "pair"])
def test_the_counts_are_those_of_the_sequences_that_will_be_trained_on(
    sequence: Literal["conversation", "pair"], tmp_path: Path
) -> None:
    values = Hyperparameters(epochs=2, pairs_per_step=4, sequence=sequence)
    work, train, held = split(tmp_path, values)
    ends = (3, 5, 7) if sequence == "pair" else (7,)  # messages: a system prompt, three pairs
    sizes = [n for row in train for n, _ in TOKENIZER.lengths([row["messages"][:e] for e in ends])]
    assert (work.train_tokens, work.sequences) == (sum(sizes), len(sizes))
    assert work.sum_squared_tokens == sum(n * n for n in sizes)
    assert work.supervised_tokens == sum(row["supervised_tokens"] for row in train)
    assert work.validation_tokens == sum(row["tokens"] for row in held)  # read whole
    per_step = 4 if sequence == "pair" else 1  # a conversation has three pairs
    assert work.steps == 2 * -(-len(sizes) // per_step)
