"""What people or judges said: EI by group, dimension and arc, voice on a scale, who judged."""

from __future__ import annotations

from collections.abc import Mapping

from brightrun.verdicts import Evaluation, Table
from reports import blocks, formats, tables
from reports.canvas import Chart, figure, svg
from reports.escape import Markdown, markdown
from reports.tables import Column
from reports.words import WORDS

BASE = {
    "scope": Column("By", tables.key),
    "name": Column("Name", tables.key),
    "kind": Column("Evidence", tables.key, only_if_varied=True),
    "ratings": Column("Ratings"),
    "scenarios": Column("Scenarios"),
    "baseline": Column("Baseline", tables.plain),
    "trained": Column("Trained", tables.plain),
}
EI = {**BASE, "change": Column("Change", tables.signed_percent),
      "alpha": Column("Agreement (alpha)", tables.plain)}  # fmt: skip
VOICE = {**BASE, "change": Column("Change, points", tables.signed),
         "characteristic": Column("Characteristic", tables.key), "answers": Column("Answers"),
         "trained_below_3": Column("Below 3")}  # fmt: skip
JUDGES = {
    **BASE,
    "change": Column("Change", tables.signed_percent),
    "judge": Column("Judge"),
    "duplicate_gap": Column("Duplicate gap", tables.plain),
}
WRONG = {"model": Column("Model", tables.key), "ruling": Column("Ruling", tables.key)}
SHOWN_SCOPES = ("overall", "group", "dimension", "arc")
NOBODY = "Nobody has judged the answers, so nothing is said about empathy, clarity or fitness."


def section(
    evaluation: Evaluation, chart: Chart | None, claim: Markdown, said: Mapping[str, str] = WORDS
) -> Markdown:
    """The EI claim, its parts, and who judged; one sentence when nobody did."""
    if not evaluation.ei.rows:
        return Markdown(f"{claim}\n\n{markdown(NOBODY)}\n\n")
    parts: list[str] = [claim, blocks.figure(chart), blocks.table(evaluation.ei, EI)]
    if evaluation.judges.rows:
        title = f"\n\n## {markdown(said['judges'])} {{#judges}}\n\n"
        parts += [title, blocks.table(evaluation.judges, JUDGES)]
    if evaluation.correctness.rows:
        title = f"\n\n## {markdown(said['correctness'])} {{#correctness}}\n\n"
        parts += [title, blocks.table(evaluation.correctness, WRONG)]
    return Markdown("".join(parts))


def voice(evaluation: Evaluation) -> Markdown:
    """The ten characteristics as rated; nothing when nobody rated them."""
    if not evaluation.voice.rows:
        return Markdown("")
    return blocks.table(evaluation.voice, VOICE)


def warnings(evaluation: Evaluation) -> tuple[str, ...]:
    """What a reader must see first, a few sentences."""
    said = [formats.clip(formats.prose(flag), 300) for flag in evaluation.flags[:4]]
    more = len(evaluation.flags) - len(said)
    return (*said, *((f"And {more} more: see the report's sections.",) if more else ()))


def flags(evaluation: Evaluation, title: str) -> Markdown:
    """The warnings as a box for page 1."""
    said = warnings(evaluation)
    return blocks.banner("bad", title, " ".join(said)) if said else Markdown("")


def chart(table: Table) -> Chart | None:
    """Relative change by dimension and arc with its 95 % interval; None without numbers."""
    names = [name.lower() for name in table.columns]
    if "change" not in names or not table.rows:
        return None
    at = {name: names.index(name) for name in ("scope", "name", "change", "change_low",
                                               "change_high")}  # fmt: skip
    rows = []
    for row in table.rows:
        values = [row[at[key]] for key in ("change", "change_low", "change_high")]
        if row[at["scope"]] in SHOWN_SCOPES and isinstance(values[0], int | float):
            ends = [float(v) if isinstance(v, int | float) else None for v in values]
            rows.append((str(row[at["scope"]]), formats.arc(str(row[at["name"]])), ends))
    if not rows:
        return None
    rows.reverse()
    with figure(7.4, 0.7 + 0.24 * len(rows)) as (drawn, axis):
        axis.axvline(0, color="#4A5866", linewidth=1)
        for y, (scope, _, (value, low, high)) in enumerate(rows):
            colour = "#0B5CAD" if scope in ("overall", "group", "dimension") else "#C77700"
            if low is not None and high is not None:
                axis.plot([low, high], [y, y], color=colour, linewidth=3, alpha=0.45)
            axis.plot([value], [y], color=colour, marker="D" if scope == "arc" else "o",
                      markersize=7 if scope == "overall" else 5)  # fmt: skip
        labels = [f"{name} ({scope})" if scope != "overall" else name for scope, name, _ in rows]
        axis.set_yticks(range(len(rows)), [formats.plotted(label, 46) for label in labels])
        axis.grid(visible=False, axis="y")
        axis.xaxis.set_major_formatter(lambda x, _: formats.percent(x, signed=True, digits=0))
        axis.set_xlabel("Change of the score against the baseline, with its 95% interval")
        text = svg(drawn)
    said = "; ".join(
        f"{name} {formats.percent(ends[0], signed=True)}" for _, name, ends in reversed(rows)
    )
    caption = "EI score by group and dimension (circles) and by arc (diamonds), 95% intervals."
    return Chart("ei", text, f"Change of the EI score: {said}.", caption)
