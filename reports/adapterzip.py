"""The adapter alone: a zip that also holds a README, its evaluation and its report."""

from __future__ import annotations

from pathlib import Path

from brightrun.errors import ReportError
from brightrun.verdicts import ReportData
from reports import archive, claims, package
from reports.render import PDF

README = """The adapter of job {job}, a LoRA for the base model {base} ({revision}).

It does nothing by itself: load it with PEFT on top of exactly that base model.

    from peft import PeftModel
    model = PeftModel.from_pretrained(base_model, "{folder}")

adapter_model.safetensors, adapter_config.json  the adapter
evaluation_summary.md                           what was measured, in sentences
{pdf:<48}the whole report
SHA256SUMS                                      sha256sum -c SHA256SUMS

{headline}
"""


def build(out: Path, adapter: Path, data: ReportData, report_pdf: Path) -> Path:
    """Write `{job_id}-adapter.zip` into `out`; ReportError when a part is missing."""
    base = data.spec.get("base_model") or {}
    top = f"{data.job_id}-adapter"
    words = README.format(
        job=data.job_id,
        base=base.get("name", "unknown"),
        revision=base.get("revision") or "pinned by its sha256 in the report",
        folder=top,
        pdf=PDF,
        headline=claims.headline(data.evaluation.verdicts),
    )
    weights = adapter / "adapter_model.safetensors"
    for needed in (weights, report_pdf):
        if not needed.is_file():
            raise ReportError(
                f"the adapter's zip needs {needed.name}, which is not there",
                fix=f"brightrun train --resume {data.job_id}",
            )
    files: dict[str, bytes | Path] = {
        "README.txt": words.encode(),
        weights.name: weights,
        "adapter_config.json": package.portable(adapter / "adapter_config.json", base),
        "evaluation_summary.md": package.summary_text(data).encode(),
        PDF: report_pdf,
    }
    return archive.write(out / f"{top}.zip", top, files)
