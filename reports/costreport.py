"""The cost report's document: CostData -> HTML, PDF and CSV.

rendered = make(data, folder)
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace
from pathlib import Path

from brightrun.counting import count
from brightrun.spreadsheets import harmless
from brightrun.verdicts import Table
from reports import blocks, costs, engines, formats, paper, render, tables
from reports.blocks import Fact
from reports.canvas import Chart, figure, svg
from reports.costs import CostData
from reports.escape import Markdown
from reports.paper import Paper, Stamp
from reports.render import Rendered
from reports.tables import Column
from reports.words import words

NAME = "cost-report"
NO_CLIENT = "(no client)"
LAYOUT = {"off": Column("Off estimate", tables.signed_percent)}
CSV_COLUMNS = (
    "job_id", "name", "client", "status", "usd", "total_usd", "estimate_usd", "off", "within",
    "boot_usd", "boot_waste_usd", "lost_usd", "hours", "spot_usd", "revenue_usd", "notional",
)  # fmt: skip


def make(data: CostData, out: Path, engine: engines.Engine | None = None) -> Rendered:
    """Write report.json, HTML, PDF and CSV into `out`."""
    started = time.perf_counter()
    engine = engine or engines.find()
    mark = render.fingerprint(data)
    made = render.write(paper_of(data, engine.name, mark), data, out, NAME, engine, started)
    sheet = out / f"{NAME}.csv"
    paper.write(sheet, csv_of(data).encode("utf-8-sig"))
    return replace(made, files=(*made.files, sheet))


def csv_of(data: CostData) -> str:
    """One line a job."""
    buffer = io.StringIO()
    sheet = csv.writer(buffer)
    sheet.writerow(CSV_COLUMNS)
    for job in data.jobs:
        values = job.model_dump()
        sheet.writerow([harmless(values[name]) for name in CSV_COLUMNS])
    return buffer.getvalue()


def title(data: CostData) -> str:
    about = data.month or f"job {data.jobs[0].job_id}"
    return f"{words(data.brand)['cost_report']}: {about}" + (
        f", {data.client}" if data.client else ", all clients" if data.month else ""
    )


def paper_of(data: CostData, engine: str, mark: str) -> Paper:
    drawn = {"clients": clients_chart(data)}
    about = f"Month {data.month}" if data.month else f"Job {data.jobs[0].job_id}"
    return Paper(
        template=NAME,
        title=title(data),
        stamp=Stamp(about, data.issue.report_id, mark),
        moment=data.made_at,
        values={
            "cover": cover(data),
            "notional": notional(data),
            "tiles": tiles(data),
            "said": said(data),
            "clients": blocks.table(client_table(data), empty="Nothing was spent."),
            "clients_chart": blocks.figure(drawn["clients"], "One client: no chart."),
            "jobs": blocks.table(job_table(data), LAYOUT, "No job billed in this time."),
            "accuracy": accuracy_said(data),
            "waste": waste_said(data),
            "waste_table": blocks.table(waste_table(data), empty="Nothing was lost."),
            "provenance": blocks.pairs(
                [("Report", data.issue.report_id), ("Report sha256", mark), ("Engine", engine)],
                code=True,
            ),
        },
        charts=drawn,
        brand=data.brand,
        contents=False,
    )


def cover(data: CostData) -> Markdown:
    said = words(data.brand)
    lines = [
        (said["month"] if data.month else said["job"], data.month or data.jobs[0].job_id),
        (said["client"], formats.clip(data.client, 80) or "all"),
        (said["state"], formats.timestamp(data.made_at)),
    ]
    kicker = f"{data.brand.house} · {said['cost_report']}"
    name = data.month if data.month else formats.clip(data.jobs[0].name or data.jobs[0].job_id, 140)
    return blocks.cover(kicker, name, lines, logo=blocks.logo(data.brand))


def notional(data: CostData) -> Markdown:
    """Own machines have a price, and nobody sends a bill for it."""
    own = [job for job in data.jobs if job.notional]
    if not own:
        return Markdown("")
    part = "All of it" if len(own) == len(data.jobs) else f"{len(own)} of {len(data.jobs)} jobs"
    return blocks.banner("warn", "Notional prices", f"{part} ran on own machines: the price per "
                         "hour is a setting, and nothing was billed.")  # fmt: skip


def tiles(data: CostData) -> Markdown:
    revenue, margin, named = data.revenue, data.margin, words(data.brand)
    limit = f"of {formats.usd(data.limit_usd)} budget" if data.limit_usd is not None else ""
    share = f"{formats.percent(margin / revenue)} of revenue" if margin and revenue else ""
    if 0 < len(data.paying) < len(data.clients):
        share += f"{', ' if share else ''}of {len(data.paying)} of {len(data.clients)} clients"
    facts = [
        Fact(named["spent-tile"], formats.usd(data.usd), limit),
        Fact(
            named["revenue-tile"],
            formats.usd(revenue) if revenue is not None else "not stated",
            f"stated by {data.revenue_by}" if data.revenue_by else "",
        ),
        Fact(
            named["margin-tile"], formats.usd(margin) if margin is not None else "not known", share
        ),
        Fact(named["jobs-tile"], str(len(data.jobs)), "" if data.complete else "so far"),
    ]
    return blocks.facts(facts)


def said(data: CostData) -> str:
    time_ = f"in {data.month}" if data.month else "in all"
    ended = "" if data.complete else " It is not over: pods that run are counted up to now."
    return (
        f"{count(len(data.jobs), 'job')} spent {formats.usd(data.usd)} {time_}. Margin is revenue "
        "less what was spent on machines in this time, for clients whose revenue is stated; "
        "people's work, storage and licences are not in it. A job's revenue counts in the month "
        f"of its first pod.{ended}"
    )


def client_table(data: CostData) -> Table:
    rows = tuple(
        (c.client or NO_CLIENT, c.jobs, c.usd, c.revenue_usd, c.margin_usd) for c in data.clients
    )
    return Table(columns=("Client", "Jobs", "Spent $", "Revenue $", "Margin $"), rows=rows,
                 caption="By client")  # fmt: skip


def job_table(data: CostData) -> Table:
    rows = tuple(
        (job.job_id, formats.clip(job.name, 40), job.client or NO_CLIENT, job.usd, job.total_usd,
         job.estimate_usd, job.off, job.revenue_usd)
        for job in data.jobs
    )  # fmt: skip
    columns = ("Job", "Name", "Client", "Spent $", "Whole job $", "Estimate $", "Off", "Revenue $")
    return Table(columns=columns, rows=rows, caption="By job; the estimate is of the whole job")


def accuracy_said(data: CostData) -> str:
    found = costs.accuracy(data.jobs)
    if not found.jobs:
        return "No job that ended had an estimate to compare with."
    off = formats.percent(found.median_off)
    return (
        f"{found.within} of {count(found.jobs, 'ended job')} cost within "
        f"±{costs.ANNOUNCED:.0%} of the likely estimate; the median distance was {off}."
    )


def waste_said(data: CostData) -> str:
    boot, lost = sum(j.boot_usd for j in data.jobs), sum(j.lost_usd for j in data.jobs)
    wasted = sum(j.boot_waste_usd for j in data.jobs)
    saved = [job.spot_usd for job in data.jobs if job.spot_usd is not None]
    spot = (
        f"Spot pods cost {formats.usd(sum(saved))} less than the same hours on demand would have, "
        f"at the prices of their estimates ({count(len(saved), 'job')})."
        if saved
        else "No job ran on spot pods with a known price on demand, so no saving is claimed."
    )
    return (
        f"{formats.usd(boot)} went into starting pods, {formats.usd(wasted)} into pods that never "
        f"gave a sign of life, and {formats.usd(lost)} into work that was lost with a pod and done "
        f"again. {spot}"
    )


def waste_table(data: CostData) -> Table:
    rows = tuple(
        (job.job_id, job.boot_usd, job.boot_waste_usd, job.lost_usd, job.spot_usd)
        for job in data.jobs
        if job.boot_usd or job.boot_waste_usd or job.lost_usd or job.spot_usd is not None
    )
    columns = ("Job", "Boot $", "Boot waste $", "Lost work $", "Saved by spot $")
    return Table(columns=columns, rows=rows, caption="Of the whole job")


def clients_chart(data: CostData) -> Chart | None:
    """Spent by client, the dearest on top; None for one client."""
    shown = [c for c in data.clients if c.usd > 0][:12][::-1]
    if len(shown) < 2:
        return None
    with figure(7.4, 0.7 + 0.34 * len(shown)) as (drawn, axis):
        names = [formats.plotted(c.client or NO_CLIENT, 32) for c in shown]
        axis.barh(range(len(shown)), [c.usd for c in shown], color="#0072B2", height=0.6)
        axis.set_yticks(range(len(shown)), names)
        for y, row in enumerate(shown):
            axis.annotate(formats.usd(row.usd), (row.usd, y), xytext=(4, 0), va="center",
                          textcoords="offset points", fontsize=8.5)  # fmt: skip
        axis.margins(x=0.12)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("Dollars spent")
        text = svg(drawn)
    alt = "; ".join(f"{c.client or NO_CLIENT} {formats.usd(c.usd)}" for c in reversed(shown))
    return Chart("clients", text, f"Spent by client: {alt}.", "Spent by client.")
