"""Charts as SVG text with their alternative texts.

Baseline is a hollow grey circle, trained a filled blue one, gold an amber diamond, a target a
dashed line: shape and lightness tell them apart in black and white.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from brightrun.counting import count
from brightrun.verdicts import CurvePoint, Interruption, Table, Verdict
from reports import claims, formats, tables
from reports.canvas import Chart, figure, svg
from reports.metricwords import MetricWords, words_of

INK, MUTED, TRAINED, BASELINE, GOLD = "#1B2733", "#4A5866", "#0B5CAD", "#7A8794", "#C77700"
STATUS = {"pass": "#0F7B6C", "fail": "#A8322A", "inconclusive": "#7A5B00", "not_measured": MUTED,
          "exploratory": MUTED}  # fmt: skip
WIDTH = 7.4
MOST_ROWS = 30
WITHDRAWN = "(withdrawn)"  # at the end of a marker's name: its levels are shown, its change is not


def _smooth(values: Sequence[float]) -> list[float]:
    """Centred moving mean over about a tenth of the points."""
    half = max(1, len(values) // 20)
    found = []
    for i in range(len(values)):
        window = values[max(0, i - half) : i + half + 1]
        found.append(sum(window) / len(window))
    return found


def loss_curve(curve: Sequence[CurvePoint], interruptions: Sequence[Interruption]) -> Chart | None:
    """Training and validation loss by step, interruptions as dashed lines, learning rate below."""
    if not curve:
        return None
    steps = [p.step for p in curve]
    held_out = [(p.step, p.validation_loss) for p in curve if p.validation_loss is not None]
    with figure(
        WIDTH, 3.5, 2, sharex=True, gridspec_kw={"height_ratios": [4, 1]}
    ) as (drawn, loss, rate):  # fmt: skip
        losses = [p.loss for p in curve]
        if len(curve) >= 8:
            loss.plot(steps, losses, color=TRAINED, linewidth=0.9, alpha=0.35)
            loss.plot(steps, _smooth(losses), color=TRAINED, label="Training loss (smoothed)")
        else:
            loss.plot(steps, losses, color=TRAINED, marker="o", label="Training loss")
        if held_out:
            x, y = zip(*held_out, strict=True)
            loss.plot(x, y, color=GOLD, linestyle="--", linewidth=1.3, marker="D",
                      markersize=5, label="Validation loss")  # fmt: skip
        top = loss.get_ylim()[1]
        for i, stop in enumerate(interruptions):
            late = stop.killed_at > 0.7 * steps[-1]
            loss.axvline(stop.killed_at, color=INK, linestyle=(0, (2, 2)), linewidth=1)
            loss.annotate(
                f"interrupted at step {stop.killed_at},\nresumed from {stop.resumed_from}",
                (stop.killed_at, top), xytext=(-5 if late else 5, -2 - 24 * (i % 2)), va="top",
                ha="right" if late else "left", textcoords="offset points", fontsize=8.5,
                color=INK,
            )  # fmt: skip
        loss.set_ylabel("Loss (nats per token)")
        loss.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0)
        rate.plot(steps, [p.learning_rate for p in curve], color=MUTED, linewidth=1.2)
        rate.set_ylabel("Learning\nrate")
        rate.set_ylim(bottom=0)
        rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useOffset=False)
        rate.yaxis.get_offset_text().set_fontsize(8)
        rate.set_xlabel("Optimizer step")
        rate.xaxis.get_major_locator().set_params(integer=True)
        text = svg(drawn)
    alt = (
        f"Training loss over {count(len(curve), 'step')}, from "
        f"{formats.number(curve[0].loss, 2)} to {formats.number(curve[-1].loss, 2)}"
    )
    if held_out:
        alt += (
            f"; validation loss from {formats.number(held_out[0][1], 2)} to "
            f"{formats.number(held_out[-1][1], 2)}"
        )
    for stop in interruptions:
        alt += f"; interrupted at step {stop.killed_at}, resumed from {stop.resumed_from}"
    return Chart("loss", text, alt + ".", "Loss during training, and the learning rate.")


def _numbers(table: Table, word: str) -> list[float | None]:
    """The column called `word`, as floats; empty when there is none."""
    for index, name in enumerate(table.columns):
        if name.lower() == word:
            return [_float(row[index]) for row in table.rows]
    return []


def _float(value: formats.Cell) -> float | None:
    return None if value is None or isinstance(value, str | bool) else float(value)


def perplexity(table: Table) -> Chart | None:
    """Baseline and trained perplexity of each held-out conversation; above 30 rows a scatter."""
    table = tables.only(table, "scope", "conversation")
    names = [name.lower() for name in table.columns]
    name = names.index("name") if "name" in names else 0
    before, after = _numbers(table, "baseline"), _numbers(table, "trained")
    pairs = [
        (str(row[name]), b, a)
        for row, b, a in zip(table.rows, before, after, strict=False)
        if b is not None and a is not None
    ]
    if not pairs:
        return None
    fell = sum(a < b for _, b, a in pairs)
    alt = (
        f"Perplexity of {count(len(pairs), 'held-out conversation')}, baseline and "
        f"trained: lower after training in {fell} of {len(pairs)}."
    )
    draw = _dumbbells if len(pairs) <= MOST_ROWS else _scatter
    return Chart("perplexity", draw(pairs), alt, "Perplexity by held-out conversation.")


def _dumbbells(pairs: list[tuple[str, float, float]]) -> str:
    pairs = sorted(pairs, key=lambda p: p[2])
    with figure(WIDTH, 0.95 + 0.24 * len(pairs)) as (drawn, axis):
        for y, (_, b, a) in enumerate(pairs):
            axis.plot([b, a], [y, y], color="#C9D2DA", linewidth=2.2, zorder=1)
        rows = range(len(pairs))
        axis.scatter([p[1] for p in pairs], rows, s=78, facecolor="white", edgecolor=BASELINE,
                     linewidth=1.6, label="Baseline", zorder=3)  # fmt: skip
        axis.scatter([p[2] for p in pairs], rows, s=46, color=TRAINED, label="Trained", zorder=4)
        axis.set_yticks(list(rows), [formats.plotted(_name(p[0])) for p in pairs])
        axis.grid(axis="x")
        axis.grid(visible=False, axis="y")
        axis.set_ylim(-0.7, len(pairs) - 0.3)
        axis.set_xlabel("Perplexity (lower = less surprised)")
        axis.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2)
        return svg(drawn)


def _scatter(pairs: list[tuple[str, float, float]]) -> str:
    with figure(WIDTH, 4.2) as (drawn, axis):
        before, after = [p[1] for p in pairs], [p[2] for p in pairs]
        ends = [min(before + after) * 0.95, max(before + after) * 1.05]
        axis.plot(ends, ends, color=INK, linewidth=0.9, linestyle="--", label="No change")
        axis.scatter(before, after, s=24, color=TRAINED, alpha=0.75, label="Conversation")
        axis.set_xlabel("Perplexity, baseline")
        axis.set_ylabel("Perplexity, trained (below the line = better)")
        axis.legend(loc="upper left")
        return svg(drawn)


def _name(conversation_id: str) -> str:
    """The first block of a uuid; another id as it is."""
    uuid = re.fullmatch(r"([0-9a-f]{8})-[0-9a-f]{4}-.*", conversation_id)
    return uuid.group(1) if uuid else conversation_id


def forest(verdicts: Sequence[Verdict]) -> Chart | None:
    """Each measured verdict: estimate with its 95 % interval against its target, own scale."""
    shown = [v for v in verdicts if claims.measured(v)]
    if not shown:
        return None
    with figure(WIDTH, 0.62 * len(shown) + 0.35, len(shown)) as (drawn, *axes):
        for axis, verdict in zip(axes, shown, strict=True):
            _forest_row(axis, verdict)
        text = svg(drawn)
    parts = [
        f"{words_of(v).label} {claims.estimate(v)}"
        f" ({claims.estimate_interval(v)}), target {claims.target(v)}: {claims.status(v)}"
        for v in shown
    ]
    caption = (
        "Estimate (dot) with its 95% interval (bar) against the target (dashed). A verdict is "
        "“met” only when the whole bar lies on the right side."
    )
    return Chart("verdicts", text, "; ".join(parts) + ".", caption)


def _forest_row(axis: Any, verdict: Verdict) -> None:
    words = words_of(verdict)
    value = float(verdict.estimate or 0.0)
    low = value if verdict.ci_low is None else verdict.ci_low
    high = value if verdict.ci_high is None else verdict.ci_high
    colour = STATUS[verdict.standing]
    nothing = 1.0 if words.estimate == "share" else 0.0
    # An index is not on the scale of its claim's target.
    target = verdict.target if words.estimate != "difference" else None
    marks = [low, high, value, nothing] + ([] if target is None else [target])
    margin = max(1e-3, 0.12 * (max(marks) - min(marks)))
    axis.set_xlim(min(marks) - margin, max(marks) + margin)
    axis.set_ylim(-1, 1)
    axis.axvline(nothing, color="#B8C2CC", linewidth=1)
    if target is not None:
        axis.axvline(target, color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
    if verdict.ci_low is not None:
        axis.plot([low, high], [0, 0], color=colour, linewidth=5, alpha=0.45)
    axis.plot([value], [0], marker="o", markersize=8, color=colour)
    axis.set_yticks([])
    axis.set_ylabel(f"{words.label}", rotation=0, ha="right", va="center", color=INK, fontsize=9.5)
    axis.grid(visible=False)
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_formatter(lambda x, _: _tick(words, x))
    axis.xaxis.get_major_locator().set_params(nbins=6)
    axis.annotate(
        claims.status(verdict).replace(", ", ",\n"), (1.01, 0.5), xycoords="axes fraction",
        va="center", fontsize=9, color=colour, fontweight="bold",
    )  # fmt: skip


def _tick(words: MetricWords, value: float) -> str:
    if words.estimate == "difference":
        return formats.level(value, "plain", signed=True, digits=words.digits)
    return formats.level(value, "percent", signed=words.estimate == "relative", short=True)


def markers(table: Table) -> Chart | None:
    """Each marker's baseline, trained and gold level as a share of the row's largest."""
    columns = [_numbers(table, word) for word in ("baseline", "trained", "gold")]
    if not columns[0] or not columns[1]:
        return None
    gold = columns[2] or [None] * len(table.rows)
    rows = [
        (formats.arc(str(row[0])), b, t, g)
        for row, b, t, g in zip(table.rows, columns[0], columns[1], gold, strict=False)
        if b is not None
        and t is not None
        and max(abs(b), abs(t), abs(g or 0)) > 0
        # Of a distance to gold, gold is not the aim: it stands in the table only.
        and not str(row[0]).lower().startswith("distance")
    ][::-1]
    if not rows:
        return None
    with figure(WIDTH, 0.8 + 0.21 * len(rows)) as (drawn, axis):
        for y, (_, b, t, g) in enumerate(rows):
            most = max(abs(b), abs(t), abs(g or 0))
            axis.plot([0, 1], [y, y], color="#E6EAEE", linewidth=1.2, zorder=1)
            axis.plot([b / most, t / most], [y, y], color="#B9CDE4", linewidth=2.4, zorder=2)
            # Larger than the trained mark: where both agree, the ring stays visible.
            axis.scatter([b / most], [y], s=78, facecolor="white", edgecolor=BASELINE,
                         linewidth=1.6, zorder=4, label="Baseline" if y == 0 else None)  # fmt: skip
            axis.scatter([t / most], [y], s=44, color=TRAINED, zorder=5,
                         label="Trained" if y == 0 else None)  # fmt: skip
            if g is not None:
                axis.scatter([g / most], [y], s=42, color=GOLD, marker="D", zorder=3,
                             label="Advisor's own answers (gold)" if y == 0 else None)  # fmt: skip
        axis.set_yticks(range(len(rows)), [formats.plotted(r[0], 46) for r in rows])
        axis.grid(visible=False)
        axis.set_xlim(-0.02, 1.03)
        axis.set_ylim(-0.7, len(rows) - 0.3)
        axis.xaxis.set_major_formatter(lambda x, _: formats.percent(x, digits=0))
        axis.set_xlabel("Share of the row's highest value")
        axis.legend(loc="lower left", ncols=3, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2)
        text = svg(drawn)
    kept = [row for row in rows if not row[0].endswith(WITHDRAWN)]
    closer = sum(g is not None and abs(t - g) < abs(b - g) for _, b, t, g in kept)
    with_gold = sum(row[3] is not None for row in kept)
    gone = f" ({len(rows) - len(kept)} withdrawn: not counted)" if len(kept) < len(rows) else ""
    alt = (
        f"{count(len(rows), 'style marker')} before and after training{gone}; in {closer} of "
        f"{with_gold} the trained model is closer to the advisor's own answers."
    )
    caption = "Style markers: an automatic index, not a human score. Closer to gold is the aim."
    return Chart("markers", text, alt, caption)
