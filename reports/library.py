"""The library: one static page over all jobs and their reports, searchable without a server.

write(ledger, folder) -> folder/index.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from brightrun.counting import count
from brightrun.ledger import Ledger
from brightrun.ledger_reports import ReportRow
from reports import claims, escape, formats, paper

HERE = Path(__file__).resolve().parent
SHOWN = {".html": "HTML", ".pdf": "PDF", ".pptx": "PowerPoint", ".csv": "CSV"}
SHORT = {
    "perplexity": "perplexity",
    "emotional_intelligence": "EI",
    "knowledge_retention": "knowledge",
    "brand_voice": "voice",
    "safety": "safety",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A report in the list: `validation 2 (for the board)` and its files' links."""

    label: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    job_id: str
    name: str
    client: str
    created: str
    status: str
    cost: str
    verdicts: tuple[tuple[str, str], ...]
    reports: tuple[Listed, ...]


def write(ledger: Ledger, folder: Path, now: datetime | None = None) -> Path:
    """index.html in the reports folder; links are relative, so the folder can be moved."""
    moment = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "index.html"
    paper.write(target, page(ledger, folder, moment).encode("utf-8"))
    return target


def page(ledger: Ledger, folder: Path, now: datetime) -> str:
    """The page's HTML."""
    issued = ledger.reports()
    rows = rows_of(ledger, issued, folder, now)
    script = (HERE / "library.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        rows=rows,
        others=[_listed(r, folder) for r in issued if r.job_id is None],
        count=count(len(rows), "job"),
        made=formats.timestamp(now),
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704  ours
        script=Markup(script),  # noqa: S704  ours
        script_hash=Markup(digest),  # noqa: S704  base64
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else escape.clean(str(value)),
    )
    return environment.from_string((HERE / "library.html").read_text(encoding="utf-8"))


def rows_of(
    ledger: Ledger, issued: Sequence[ReportRow], folder: Path, now: datetime
) -> tuple[Row, ...]:
    """One row a job, newest first."""
    costs, verdicts = ledger.cost_of_jobs(now), ledger.verdicts_of_jobs()
    mine: dict[str, list[Listed]] = {}
    for report in issued:
        if report.job_id is not None:
            mine.setdefault(report.job_id, []).append(_listed(report, folder))
    return tuple(
        Row(
            job_id=job.job_id,
            name=formats.clip(job.name or Path(job.training_file).name, 80),
            client=formats.clip(job.client, 60),
            created=f"{job.created_at:%Y-%m-%d}",
            status=str(job.status).replace("_", " "),
            cost=formats.usd(float(costs[job.job_id])) if job.job_id in costs else formats.NONE,
            verdicts=tuple(
                (met, f"{SHORT[metric]}: {claims.TARGET[met].lower()}")  # type: ignore[index]
                for metric, met, has_target in verdicts.get(job.job_id, ())
                if has_target and metric in SHORT
            ),
            reports=tuple(mine.get(job.job_id, ())),
        )
        for job in ledger.jobs(None)
    )


def _listed(report: ReportRow, folder: Path) -> Listed:
    about = report.kind.replace("_", " ")
    if report.job_id is None:
        about = f"{about}: {report.title}"
    label = f"{about} {report.version}" + (f" for {report.audience}" if report.audience else "")
    place = Path(report.folder)
    links = tuple(
        (SHOWN[Path(name).suffix], _link(place / name, folder))
        for name in sorted(report.files)
        if Path(name).suffix in SHOWN
    )
    return Listed(label, links)


def _link(file: Path, folder: Path) -> str:
    """Relative inside the reports folder, else as a file URL."""
    if file.is_relative_to(folder):
        return quote(file.relative_to(folder).as_posix())
    return file.as_uri()
