"""The deployment package: one zip that runs at the client's without this project.

The golden answers inside were made by the very inference.py that ships, with the settings that
generation.json states. SHA256SUMS is written last; the zip is checked after it was closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from brightrun.delivered import FOR_NF4, LIBRARIES
from brightrun.errors import ReportError
from brightrun.verdicts import ReportData
from reports import archive, claims, libraries, packagetexts
from reports.metricwords import words_of
from reports.render import PDF

SETTINGS = ("dtype", "quantization", "max_new_tokens", "threads")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
TOKENIZER_EXTRAS = ("special_tokens_map.json", "added_tokens.json", "tokenizer.model")
# What the libraries need in turn: pip installs of it only what a system needs.
CONSTRAINTS = "constraints.txt"
SUMMARY = "evaluation_summary.json"
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
    told: Mapping[str, str],
    required: Mapping[str, str] = MappingProxyType({}),
    old_weights: Path | None = None,
) -> Path:
    """Write `{job_id}-package.zip` into `out` and return its path; ReportError says what is wrong.

    golden: [{id, messages, text, settings}], answers that `inference_script` made. generation:
    {dtype, quantization, max_new_tokens, threads, system_prompt, template}, the same settings.
    base_model: prepared.json of `base_folder`, which gives the tokenizer files. told, required:
    versions of the pod's libraries, and of all that stood behind them. old_weights: the adapter as
    adapter_model.bin, for integrations that ask for it.
    """
    examples = _examples(golden, generation)
    base = _base(base_model)
    stated = _generation(generation, base)
    pins = requirements(str(stated["quantization"]), told)
    indirect = {name: v.partition("+")[0] for name, v in required.items() if name not in pins}
    config = portable(adapter / "adapter_config.json", base)
    words = packagetexts.words(
        data, stated, base, torch=pins["torch"], golden=len(golden), adapter=json.loads(config),
        indirect=bool(indirect),
    )  # fmt: skip
    files: dict[str, bytes | Path] = {
        "adapter_model.safetensors": _need(adapter / "adapter_model.safetensors"),
        "adapter_config.json": config,
        "generation.json": _json(stated),
        "inference.py": _need(inference_script),
        "merge.py": _need(inference_script.with_name("merge.py")),
        "requirements.txt": lines(pins, f"-c {CONSTRAINTS}\n" if indirect else ""),
        "README.md": packagetexts.fill("README.md", words),
        "LICENSE-NOTES.md": packagetexts.fill("LICENSE-NOTES.md", words),
        "example_prompts.json": _json(examples),
        "MODEL-CARD.md": packagetexts.fill("MODEL-CARD.md", words),
        "serve/README.md": packagetexts.fill("serve/README.md", words),
        "serve/compose.yaml": packagetexts.fill("serve/compose.yaml", words),
        "serve/request.sh": packagetexts.fill("serve/request.sh", words),
        SUMMARY: _json(summary(data)),
        "evaluation_summary.md": summary_text(data).encode(),
        PDF: _need(report_pdf),
    }
    if indirect:
        files[CONSTRAINTS] = lines(indirect)
    files |= {name: _need(base_folder / name) for name in TOKENIZER_FILES}
    if old_weights is not None:
        files["adapter_model.bin"] = _need(old_weights)
    extras = (base_folder / name for name in TOKENIZER_EXTRAS)
    files |= {path.name: path for path in extras if path.is_file()}
    return archive.write(out / f"{data.job_id}-package.zip", f"{data.job_id}-package", files)


def requirements(quantization: str, told: Mapping[str, str]) -> dict[str, str]:
    """Package -> exact version: those of the pod that made the golden answers."""
    names = (*LIBRARIES, FOR_NF4) if quantization == "nf4" else LIBRARIES
    # `+cpu` names where torch was built: not a version that a package index knows.
    known = {name: version.partition("+")[0] for name, version in told.items()}
    return libraries.versions(names, known, "  # {}")


def lines(pins: Mapping[str, str], first: str = "") -> bytes:
    """As pip reads them."""
    return (first + "".join(f"{name}=={version}\n" for name, version in pins.items())).encode()


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
    """evaluation_summary.md: one sentence per verdict; what people or models typed is escaped."""
    lines = [f"# Evaluation of job {data.job_id}", ""]
    if data.meaningless:
        lines += [f"**{data.meaningless}: the numbers mean nothing.**", ""]
    lines += [claims.headline(data.evaluation.verdicts), ""]
    for verdict in data.evaluation.verdicts:
        label = words_of(verdict).label
        said = packagetexts.line(claims.sentence(verdict))
        lines.append(f"- **{label}** ({claims.status(verdict)}): {said}")
    lines += ["", f"{claims.ei_claim(data.evaluation.verdicts)}.", "", "Cut in this run:", ""]
    lines += [f"- {packagetexts.line(cut)}" for cut in data.cuts] or ["- nothing"]
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


def portable(config: Path, base: Mapping[str, Any]) -> bytes:
    """adapter_config.json naming the base model instead of a folder of the training machine."""
    document = json.loads(_need(config).read_text(encoding="utf-8"))
    document["base_model_name_or_path"] = base.get("hub_id") or base.get("name") or ""
    if base.get("hub_id") and base.get("revision"):
        document["revision"] = base["revision"]
    return _json(document)


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
