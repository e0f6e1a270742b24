"""What all contenders train on: the same conversations, as token ids and labels, by file and seed.

The split depends on the file alone, so that seeds differ in order and dropout only.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brightrun import basemodels
from brightrun.conversations import Conversation, DefectLog
from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobSpec
from brightrun.reading import TrainingFile
from brightrun.tokens import ChatTokenizer
from trainer import data

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "example": ROOT / "examples" / "training-file.json",
    "eq12": ROOT.parent / "shared" / "data" / "eq12" / "EQ-12-conversations-demo.json",
}


@dataclass(frozen=True, slots=True)
class Material:
    """Rows as the snapshot writes them; the tokenizer of the base model in `folder`."""

    training: list[dict[str, Any]]
    held_out: list[data.Sample]
    tokenizer: ChatTokenizer
    folder: Path
    reference: BaseModelRef

    def sequences(self, kind: str) -> list[data.Sample]:
        """Samples of `kind`: conversation or pair."""
        return data.samples(self.training, self.tokenizer, kind, 10**6)  # type: ignore[arg-type]

    def spec(self, values: Hyperparameters, threads: int) -> JobSpec:
        """A spec over this material; nothing is written, so the hashes are empty."""
        counted = DataRef(
            name="bench",
            source_sha256="",
            train_sha256="",
            validation_sha256="",
            train_conversations=len(self.training),
            validation_conversations=len(self.held_out),
            supervised_pairs=sum(row["supervised_pairs"] for row in self.training),
            train_tokens=sum(row["tokens"] for row in self.training),
            supervised_tokens=sum(row["supervised_tokens"] for row in self.training),
        )
        return JobSpec(
            base_model=self.reference, data=counted, values=values, plan_sha256="", threads=threads
        )


def material(
    file: Path, models: Path, base_model: str, conversations: int, held_out: int, longest: int = 0
) -> Material:
    """The first `held_out` conversations of the file are held out, the next ones trained on.

    longest: those with more tokens are passed over; 0: none is.
    """
    folder = basemodels.prepared_folder(base_model, models)
    tokenizer = ChatTokenizer.load(folder)
    records = (record.conversation(None) for record in TrainingFile(file, DefectLog()))
    usable = (row(one, tokenizer) for one in records if one.supervised_pairs)
    short = (one for one in usable if not longest or one["tokens"] <= longest)
    rows = list(itertools.islice(short, conversations + held_out))
    if len(rows) < conversations + held_out:
        raise SystemExit(f"{file.name} has only {len(rows)} such conversations with an answer")
    held = data.samples(rows[:held_out], tokenizer, "conversation", 10**6)
    reference = basemodels.resolve(base_model, models)
    return Material(rows[held_out:], held, tokenizer, folder, reference)


def row(one: Conversation, tokenizer: ChatTokenizer) -> dict[str, Any]:
    messages = one.messages()
    tokens, supervised = tokenizer.lengths([messages])[0]
    return {
        "conversation_id": one.conversation_id,
        "arc": one.arc,
        "messages": messages,
        "tokens": tokens,
        "supervised_tokens": supervised,
        "supervised_pairs": one.supervised_pairs,
    }


def part_of_example(count: int, first: int = 0) -> str:
    """The example file with `count` of its conversations, from `first` on and round its end."""
    whole = json.loads(FILES["example"].read_bytes())
    every = whole["conversations"]
    kept = [every[(first + at) % len(every)] for at in range(min(count, len(every)))]
    about = {
        **whole["training_file_metadata"],
        "total_conversations": len(kept),
        "total_training_pairs": sum(len(one["training_pairs"]) for one in kept),
    }
    return json.dumps({**whole, "training_file_metadata": about, "conversations": kept})


def lines(path: Path) -> list[dict[str, Any]]:
    """A JSON lines file; empty when there is none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]
