"""live.html: active jobs in one page that loads itself again every few seconds. Strings only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from brightrun import losses
from brightrun.counting import count
from reports import formats, sparkline
from reports.escape import html

REFRESH_SECONDS = 5
STYLE = Path(__file__).resolve().parent / "live.css"


@dataclass(frozen=True, slots=True)
class LiveStage:
    """One stage; share_done is 0-1."""

    name: str
    status: str = "waiting"
    expected_s: float = 0.0
    elapsed_s: float = 0.0
    share_done: float = 0.0


@dataclass(frozen=True, slots=True)
class LiveJob:
    """What the page shows of one job. None = not known yet, shown as a dash."""

    job_id: str
    name: str
    status: str
    percent: float
    stages: tuple[LiveStage, ...] = ()
    epoch: float | None = None
    epochs: int | None = None
    step: int | None = None
    total_steps: int | None = None
    loss: tuple[tuple[int, float], ...] = ()
    validation_loss: tuple[tuple[int, float], ...] = ()
    learning_rate: float | None = None
    eta_seconds: float | None = None
    elapsed_seconds: float | None = None
    cost_usd: float | None = None
    estimate_usd: float | None = None
    money: str = ""  # cost so far by line, against the estimate
    revised: str = ""  # one sentence, once the pod has measured its own speed
    notional: bool = False
    gpu_percent: float | None = None
    memory_mb: float | None = None
    interruptions: int = 0
    resumed: bool = False
    warnings: tuple[str, ...] = ()


def page(jobs: Sequence[LiveJob], now: datetime, *, watching: bool = True) -> str:
    """The whole page. It loads itself again while it is written; the last one says that it is."""
    again = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if watching else ""
    when = formats.timestamp(now)
    if not watching:
        when = f"`brightrun watch` ended at {when}: nothing here is written any more"
    body = "".join(_job(job) for job in jobs) or '<p class="none">No job is running.</p>'
    running = count(len(jobs), "job")
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'{again}<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(running)} · Bright Run</title><style>{style}</style></head><body>"
        f"<header><h1>Bright Run</h1><p>{html(running)} · {html(when)}</p>"
        f"</header><main>{body}</main></body></html>\n"
    )


def _job(job: LiveJob) -> str:
    done = min(100.0, max(0.0, job.percent))
    about = "" if job.estimate_usd is None else f", of about {formats.usd(job.estimate_usd)}"
    facts = [
        ("Remaining", formats.duration(job.eta_seconds)),
        ("Elapsed", formats.duration(job.elapsed_seconds)),
        ("Epoch", _of(job.epoch, job.epochs, 2)),
        ("Step", _of(job.step, job.total_steps, 0)),
        ("Loss", formats.number(job.loss[-1][1], 3) if job.loss else formats.NONE),
        ("Learning rate", f"{job.learning_rate:.2e}" if job.learning_rate else formats.NONE),
        (f"Cost so far{about}{' (notional)' if job.notional else ''}", formats.usd(job.cost_usd)),
        ("GPU", formats.percent(_share(job.gpu_percent), digits=0)),
        ("Memory", formats.size(job.memory_mb * 1e6) if job.memory_mb else formats.NONE),
    ]
    tiles = "".join(f"<div><dt>{html(k)}</dt><dd>{html(v)}</dd></div>" for k, v in facts)
    lost = losses.counted(job.interruptions, job.resumed).capitalize()
    notes = [line for line in (job.money, job.revised, lost) if line]
    listed = "".join(f"<li>{html(note)}</li>" for note in [*notes, *job.warnings])
    return (
        f'<article><header><h2 dir="auto">{html(job.name or job.job_id)}</h2>'
        f"<p>{html(job.job_id)} · {html(job.status)}</p>"
        f'<p class="percent">{done:.0f}%</p></header>'
        f'<div class="bar" role="progressbar" aria-valuenow="{done:.0f}" aria-valuemin="0" '
        f'aria-valuemax="100"><span style="width:{done:.1f}%"></span></div>'
        f'<div class="stages">{_stages(job.stages)}</div>'
        f"<dl>{tiles}</dl>{_curve(job)}"
        + (f'<ul class="notes">{listed}</ul>' if listed else "")
        + "</article>"
    )


def _share(percentage: float | None) -> float | None:
    return None if percentage is None else percentage / 100


def _of(value: float | None, total: int | None, digits: int) -> str:
    if value is None or not total:
        return formats.NONE
    return f"{formats.number(value, digits)} of {total:,}"


def _stages(stages: Sequence[LiveStage]) -> str:
    found = ""
    for stage in stages:
        filled = 100 * min(1.0, max(0.0, stage.share_done))
        times = f"about {formats.duration(stage.expected_s)}"
        if stage.elapsed_s:
            spent = formats.duration(stage.elapsed_s)
            times = spent if stage.status == "finished" else f"{spent} of {times}"
        found += (
            f'<div class="{html(stage.status)}"><span class="track"><span style="width:'
            f'{filled:.1f}%"></span></span><b>{html(formats.arc(stage.name))}</b>'
            f"<i>{html(stage.status)} · {html(times)}</i></div>"
        )
    return found


def _curve(job: LiveJob) -> str:
    if len(job.loss) < 2:
        return "<p>The loss curve appears after two steps.</p>"
    return sparkline.svg(job.loss, job.validation_loss, job.total_steps or 0)
