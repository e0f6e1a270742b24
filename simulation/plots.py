"""The results as calm SVG pictures: resume times, cost against estimate, checkpoint intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

from simulation.scenarios import Results, percentile

BLUE, GREY, AMBER, INK = "#0B5CAD", "#8A96A3", "#C77700", "#1B2733"
SHADES = ("#B7CBE3", "#7FA6D1", "#4580BD", BLUE, AMBER)
CALM: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.hashsalt": "brightrun",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#B8C2CC",
    "axes.grid": True,
    "grid.color": "#E6EAEE",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(results: Sequence[Results], intervals: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write resume.svg, cost.svg and, where there are some, intervals.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(CALM):
        resume(results, folder / "resume.svg")
        cost(results, folder / "cost.svg")
        if intervals:
            checkpoints(intervals, folder / "intervals.svg")


def resume(results: Sequence[Results], path: Path) -> None:
    """Share of the interruptions that were over after so many minutes."""
    figure, axes = plt.subplots(figsize=(7.4, 3.4))
    for found, colour in zip(results, SHADES, strict=False):
        minutes = sorted(s.ours / 60 for r in found.ran for s in r.resumes)
        if minutes:
            share = [(n + 1) / len(minutes) for n in range(len(minutes))]
            axes.plot(minutes, share, color=colour, label=found.scenario.name)
    axes.axvline(10, color=INK, linestyle="--", linewidth=1)
    axes.axhline(0.95, color=INK, linestyle=":", linewidth=1)
    axes.set(xlim=(0, 20), ylim=(0, 1.01), xlabel="minutes from loss to first step, less the boot",
             ylabel="share of interruptions")  # fmt: skip
    axes.set_title("Resume: the target is 95 % within 10 minutes", loc="left")
    axes.legend(loc="lower right")
    save(figure, path)


def cost(results: Sequence[Results], path: Path) -> None:
    """Cost over likely estimate: 5th to 95th percentile, quartiles, median."""
    figure, axes = plt.subplots(figsize=(7.4, 2.8))
    axes.axvspan(0.85, 1.15, color="#EEF3F8")
    for row, found in enumerate(results):
        ratio = [float(r.cost / r.likely) for r in found.ran]
        low, first, middle, third, high = (percentile(ratio, q) for q in (0.05, 0.25, 0.5, 0.75,
                                                                         0.95))  # fmt: skip
        axes.plot([low, high], [row, row], color=GREY, linewidth=1.5)
        axes.plot([first, third], [row, row], color=BLUE, linewidth=5, solid_capstyle="round")
        axes.plot(middle, row, "o", color="white", markeredgecolor=INK, markersize=6)
    axes.set_yticks(range(len(results)), [found.scenario.name for found in results])
    axes.invert_yaxis()
    axes.set(xlabel="cost over likely estimate (5-95 %, quartiles, median; shaded: within 15 %)")
    axes.set_title("Cost against the estimate", loc="left")
    save(figure, path)


def checkpoints(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Overhead by interval; the dashed line is Young's best."""
    figure, axes = plt.subplots(figsize=(7.4, 3.2))
    for row, colour in zip(rows, SHADES[1:], strict=False):
        minutes, overhead = zip(*sorted(row["overhead"].items()), strict=True)
        axes.plot(minutes, [100 * o for o in overhead], "o-", color=colour, markersize=4,
                  label=f"{row['rate_per_hour']:.0%} an hour")  # fmt: skip
        axes.axvline(row["young_min"], color=colour, linestyle="--", linewidth=1)
    axes.set(xlabel="minutes between checkpoints", ylabel="pod hours beyond the work, %")
    axes.set_title("Checkpoint interval (dashed: Young's best)", loc="left")
    axes.legend()
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
