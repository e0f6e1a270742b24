"""What the slides say: ReportData -> slides of a title with sentences, a table or a chart. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from brightrun.figures import worth
from brightrun.verdicts import Example, MetricName, ReportData, Table, Verdict
from reports import (
    assurances,
    before_after,
    benefit,
    charts,
    claims,
    formats,
    judgements,
    meaning,
    summary,
)
from reports.canvas import Chart
from reports.metricwords import words_of
from reports.words import words

MOST = 260  # characters of an answer on a slide
SHOWN_EXAMPLES = ("best", "worst", "random")


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide: plain texts; a renderer escapes them."""

    title: str
    points: tuple[str, ...] = ()
    table: Table | None = None
    chart: Chart | None = None
    command: str = ""


def deck(data: ReportData) -> list[Slide]:
    """The report as slides; what was not measured is said, never left out."""
    said = words(data.brand)
    verdicts = data.evaluation.verdicts
    found = [
        Slide(said["first"], judgements.warnings(data.evaluation)),
        Slide(said["summary"], (summary.trained(data), claims.headline(verdicts))),
        Slide(said["verdicts"], table=verdict_table(verdicts)),
        Slide(said["changed"], chart=charts.forest(verdicts)),
        *emotional(data, said["ei"]),
        Slide(said["perplexity"], sentences(verdicts, MetricName.perplexity),
              chart=charts.perplexity(data.evaluation.perplexity)),
        Slide(said["knowledge"], sentences(verdicts, MetricName.knowledge_retention)),
        Slide(said["voice"], sentences(verdicts, MetricName.brand_voice),
              chart=charts.markers(data.evaluation.markers)),
        Slide(said["safety"], sentences(verdicts, MetricName.safety)),
        *(example(item, said) for item in chosen(data.evaluation.examples)),
        Slide(said["training"], chart=charts.loss_curve(data.curve, data.interruptions)),
        Slide(said["cost-summary"], (summary.cost_sentence(data),)),
        Slide(said["meaning"], (meaning.LABEL,), table=short_meaning(verdicts)),
        *value(data, said["benefit"]),
        *assured(data, said),
        Slide(said["limits"], tuple(summary.limits(data, verdicts))),
    ]  # fmt: skip
    return [slide for slide in found if slide.points or slide.table or slide.chart]


def sentences(verdicts: tuple[Verdict, ...], metric: MetricName) -> tuple[str, ...]:
    said = tuple(claims.sentence(v) for v in verdicts if v.metric is metric)
    return said or ("Not measured: no claim is made.",)


def emotional(data: ReportData, title: str) -> list[Slide]:
    """The EI claim, or that nobody judged and the command that would change it."""
    verdicts = data.evaluation.verdicts
    if claims.ei_claim(verdicts) == "EI claim: not measured":
        points = ("EI claim: not measured.", judgements.NOBODY)
        return [Slide(title, points, command=data.next_command)]
    said = sentences(verdicts, MetricName.emotional_intelligence)
    return [Slide(title, said, chart=judgements.chart(data.evaluation.ei))]


def verdict_table(verdicts: tuple[Verdict, ...]) -> Table:
    rows = tuple(
        (
            words_of(v).label,
            claims.estimate(v) if claims.measured(v) else formats.NONE,
            claims.estimate_interval(v) if claims.measured(v) else formats.NONE,
            claims.target(v),
            claims.status(v),
            claims.evidence(v),
        )
        for v in verdicts
    )
    head = ("Metric", "Estimate", "95% interval", "Target", "Verdict", "Evidence")
    return Table(columns=head, rows=rows)


def short_meaning(verdicts: tuple[Verdict, ...]) -> Table:
    whole = meaning.table(verdicts)
    rows = tuple((row[0], row[2], row[3]) for row in whole.rows)
    return Table(columns=("What", "Verdict", "What it can mean"), rows=rows)


def chosen(examples: tuple[Example, ...]) -> list[Example]:
    """The first of each kind that is shown: best, worst, random; losses are never left out.

    Where nothing could be ranked, as many of those that were drawn.
    """
    drawn = [item for item in examples if item.why == "random"]
    if not any(item.why in ("best", "worst") for item in examples):
        return drawn[: len(SHOWN_EXAMPLES)]
    found = []
    for why in SHOWN_EXAMPLES:
        found += [item for item in examples if item.why == why][:1]
    return found


def example(item: Example, said: dict[str, str]) -> Slide:
    why = before_after.WHY.get(item.why, item.why)
    return Slide(
        f"{said['examples']}: {formats.arc(item.arc)}",
        (f"Chosen: {why}. Answers are shortened here and whole in the report.",),
        table=Table(
            columns=(said["client"], said["before"], said["after"]),
            rows=((short(item.client_message), short(item.baseline), short(item.trained)),),
        ),
    )


def short(text: str) -> str:
    return formats.clip(text, MOST) or "(empty answer)"


def value(data: ReportData, title: str) -> list[Slide]:
    """The client's assumptions; nothing when there are none."""
    if data.figures is None:
        return []
    said = f"Assumptions stated by {data.figures.stated_by}, not measurements."
    return [Slide(title, (said, benefit.sentence(data.figures, worth(data.figures))))]


def assured(data: ReportData, said: dict[str, str]) -> list[Slide]:
    points = tuple(f"{name}: {text}" for name, text in assurances.terms(data.brand, said))
    return [Slide(said["assurance"], points)] if points else []
