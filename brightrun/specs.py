"""What is run (JobSpec): frozen, fully resolved, hashed. It holds only what decides the result, so
an equal hash means an equal job.
"""

from __future__ import annotations

import hashlib
import json

from pydantic import Field

from brightrun.frozen import Frozen
from brightrun.presets import Hyperparameters

# In a run folder: its pod trains nothing, it writes the NF4 copy of the spec's base model.
COPY_WISH = "plan/copy.json"
LEAST_CONTEXT = 128  # tokens; no conversation fits into less


class QuantisedCopy(Frozen):
    """A base model's weights that lie on a volume in NF4 already."""

    folder: str = Field(description="In the pod's model cache")
    manifest_sha256: str = Field(description="Of its manifest.json, which has every file's sha256")


class BaseModelRef(Frozen):
    """Which base model: alias or path or hub id, pinned by revision or content hash."""

    name: str
    revision: str = ""
    sha256: str = ""
    context: int = Field(ge=LEAST_CONTEXT)
    template: str = Field(description="Which of brightrun.chat.TEMPLATES")
    meaningful: bool = Field(True, description="False for `tiny`: its numbers mean nothing")
    quantised: QuantisedCopy | None = Field(
        None, description="What a pod loads instead of quantising these weights; None: nothing"
    )

    @property
    def identity(self) -> str:
        """Whose weights they are, under any name: their hash, else name and revision."""
        return self.sha256 or f"{self.name}@{self.revision}"


class DataRef(Frozen):
    """The snapshot that is trained on; sha256 are of the written jsonl files."""

    name: str
    source_sha256: str
    train_sha256: str
    validation_sha256: str
    train_conversations: int
    validation_conversations: int
    train_sequences: int = Field(0, description="With the parts of split ones; 0: none is split")
    supervised_pairs: int = Field(description="In the training part")
    train_tokens: int = Field(description="Per epoch, template included")
    supervised_tokens: int = Field(description="Per epoch")


class JobSpec(Frozen):
    """All that decides the result, nothing else."""

    base_model: BaseModelRef
    data: DataRef
    values: Hyperparameters
    plan_sha256: str = Field(description="Hash of plan/plan.json: what will be measured")
    threads: int = Field(ge=1, description="CPU threads; part of bit-exactness on CPU")
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    warmup_ratio: float = 0.03
    max_grad_norm: float = 0.3
    scheduler: str = "cosine"
    optimizer: str = "paged_adamw_32bit"

    def spec_hash(self) -> str:
        """sha256 (hex) of the canonical JSON; the file's name decides nothing and is left out."""
        facts = self.model_dump(mode="json", exclude={"data": {"name"}})
        if self.base_model.quantised is None:  # as before there were such copies
            del facts["base_model"]["quantised"]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return self.values.epochs * self.steps_per_epoch

    @property
    def sequences(self) -> int:
        """Rows that are trained on: conversations, and parts of those that were split."""
        return self.data.train_sequences or self.data.train_conversations

    @property
    def conversations_per_step(self) -> int:
        """Whole sequences per optimizer step that hold about pairs_per_step supervised pairs."""
        if self.values.sequence == "pair":
            return self.values.pairs_per_step
        pairs_each = self.data.supervised_pairs / max(1, self.sequences)
        return max(1, round(self.values.pairs_per_step / max(1.0, pairs_each)))

    @property
    def steps_per_epoch(self) -> int:
        rows = self.data.supervised_pairs if self.values.sequence == "pair" else self.sequences
        return max(1, -(-rows // self.conversations_per_step))
