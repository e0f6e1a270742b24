"""The validation report's content: ReportData -> the values of validation-report.qmd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from brightrun.counting import count
from brightrun.verdicts import MetricName, ReportData, Table, Verdict
from reports import (
    aspects,
    assurances,
    before_after,
    benefit,
    blocks,
    charts,
    claims,
    formats,
    judgements,
    meaning,
    numbers,
    questions,
    summary,
    tables,
)
from reports.canvas import Chart
from reports.escape import Markdown, markdown
from reports.words import words

# Page 1 has an own box for an EI claim that nobody measured; the index stands with the markers.
_ELSEWHERE = (MetricName.emotional_intelligence, MetricName.marker_index)
ONE_PAGE_BEGINS = blocks.twin('<div class="one-page">', "#br-one-page[")
ONE_PAGE_ENDS = blocks.twin("</div>", "]\n#pagebreak(weak: true)")
ROOM = blocks.twin("", "#br-room(200pt)")
# By whether the adapter comes from elsewhere.
HELD_OUT = {
    False: "The conversations were held out from training.",
    True: "The conversations were held out from another job's training; whether this adapter has "
    "seen them is not known.",
}
SPLIT = {
    False: "No held-out conversation shares a line with the training data.",
    True: "Whether a tested conversation shares a line with what the adapter was trained on is "
    "not known.",
}
VOICE_PARTS, VOICE_INDEX = "voice_parts", "voice_index"
PARTS = ("baseline", "trained", "gold", "change", "change_low", "change_high")


def charts_of(data: ReportData) -> dict[str, Chart | None]:
    """The report's charts by name."""
    evaluation = data.evaluation
    return {
        "loss": charts.loss_curve(data.curve, data.interruptions),
        "perplexity": charts.perplexity(evaluation.perplexity),
        "verdicts": charts.forest(evaluation.verdicts),
        "markers": charts.markers(evaluation.markers),
        "ei": judgements.chart(evaluation.ei),
    }


def context(data: ReportData, drawn: dict[str, Chart | None]) -> dict[str, Markdown | str]:
    """Every placeholder of the template. A plain str is escaped by the template."""
    evaluation, said = data.evaluation, words(data.brand)
    verdicts = _ordered(evaluation.verdicts)
    return {
        "cover": summary.cover(data),
        "banners": Markdown(
            f"{judgements.flags(evaluation, said['first'])}{summary.banners(data)}"
        ),
        "tiles": summary.tiles(data, verdicts),
        "trained": summary.trained(data),
        "claims": blocks.claim_list(
            [v for v in verdicts if v.metric not in _ELSEWHERE or v.target_met != "not_measured"]
        ),
        "ei": summary.ei_box(data, verdicts),
        "cost_sentence": summary.cost_sentence(data),
        "limits": blocks.bullets(summary.limits(data, verdicts)),
        "one_page_begins": ONE_PAGE_BEGINS,
        "one_page_ends": ONE_PAGE_ENDS,
        "room": ROOM,
        "headline": claims.headline(verdicts),
        "fewest": str(claims.FEWEST),
        "verdict_table": blocks.verdict_table(verdicts),
        "questions": blocks.table(questions.table(verdicts)),
        "forest": blocks.figure(drawn["verdicts"], "No verdict has a number to draw."),
        "held_out": HELD_OUT[evaluation.foreign],
        "split": SPLIT[evaluation.foreign],
        "perplexity_claim": _claim(verdicts, MetricName.perplexity),
        "perplexity_chart": blocks.figure(drawn["perplexity"]),
        "perplexity_table": blocks.table(evaluation.perplexity, tables.PERPLEXITY),
        "training_sentence": _training(data),
        "loss_chart": blocks.figure(drawn["loss"], "No step was recorded."),
        "knowledge_claim": _claim(verdicts, MetricName.knowledge_retention),
        "knowledge_table": blocks.table(evaluation.knowledge, tables.KNOWLEDGE),
        "lost_table": blocks.table(evaluation.lost_questions, tables.LOST, "No question was lost."),
        "markers_claim": _claim(verdicts, MetricName.marker_index),
        "markers_chart": blocks.figure(drawn["markers"]),
        "markers_table": blocks.table(evaluation.markers, tables.MARKERS),
        "ei_section": judgements.section(
            evaluation, drawn["ei"], _claim(verdicts, MetricName.emotional_intelligence), said
        ),
        "voice": _claim(verdicts, MetricName.brand_voice),
        "voice_rated": judgements.voice(evaluation),
        "voice_table": blocks.table(
            _voice_table(data), tables.VOICE, "No characteristic was measured by itself."
        ),
        "safety_claim": _claim(verdicts, MetricName.safety),
        "safety_table": blocks.table(
            evaluation.safety, tables.SAFETY, "No safety scenario was in this sample."
        ),
        "examples_sentence": _examples_sentence(data),
        "aspects": blocks.table(aspects.table(evaluation), empty=""),
        "legend": before_after.legend() if evaluation.examples else Markdown(""),
        "meaning": blocks.table(meaning.table(verdicts), empty="No verdict was reached."),
        "benefit": benefit.section(data.figures),
        "assurances": assurances.section(data.brand, said),
        "comparison": _optional(said["models"], evaluation.comparison),
        "contamination": _optional(
            said["contamination"], evaluation.contamination, tables.CONTAMINATION
        ),
        "data_feedback": _optional(said["feedback"], evaluation.data_feedback, tables.FEEDBACK),
        "examples": Markdown(
            "".join(
                before_after.example(i, e, said, evaluation.correctness)
                for i, e in enumerate(evaluation.examples, 1)
            )
        ),
        "cuts": blocks.bullets(data.cuts or ("Nothing: this is the full validation.",)),
        "dataset_table": blocks.table(data.dataset),
        "cost_detail": _cost_detail(data),
        "cost_table": blocks.table(data.cost, tables.COST),
        "stages_table": blocks.table(data.stages),
        "measured_facts": blocks.pairs(numbers.rows(evaluation.facts)),
        "provenance": blocks.pairs(_provenance(data), code=True),
        "reproduce": blocks.code(data.reproduce),
    }


def _optional(title: str, found: Table | None, layout: tables.Layout = tables.GENERAL) -> Markdown:
    """A table under its own heading; nothing when this evaluation does not have it."""
    if found is None or not found.rows:
        return Markdown("")
    return Markdown(f"\n\n## {markdown(title)}\n\n{blocks.table(found, layout)}")


def _ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """In the order in which they are sold; the automatic index last."""
    order = list(MetricName)
    first = [MetricName.emotional_intelligence, MetricName.perplexity]
    return sorted(
        verdicts,
        key=lambda v: first.index(v.metric) if v.metric in first else 2 + order.index(v.metric),
    )


def _cost_detail(data: ReportData) -> str:
    price = data.price
    rate = price.get("usd_per_hour")
    said = f"{formats.usd(float(rate), 2)} per hour" if rate is not None else "Price unknown"
    origin = ", ".join(str(price[key]) for key in ("source", "as_of") if price.get(key))
    return f"{said}{f' ({origin})' if origin else ''}. {summary.cost_sentence(data)}"


def _claim(verdicts: Sequence[Verdict], metric: MetricName) -> Markdown:
    found = [v for v in verdicts if v.metric is metric]
    if not found:
        return Markdown(f"\n\n{markdown('Not measured: no claim is made.')}\n\n")
    return Markdown("".join(blocks.finding(v) for v in found))


def _training(data: ReportData) -> str:
    if not data.curve:
        return ""
    last = data.curve[-1]
    epochs = count(round(last.epoch), "epoch")
    said = f"{count(last.step, 'optimizer step')}, {epochs}."
    if data.interruptions:
        said += f" {summary.interrupted(data)}."
    return said


def _withdrawn(data: ReportData) -> bool:
    """Whether the voice index does not tell the advisor's answers from neutral ones."""
    gone = data.evaluation.facts.get("withdrawn_markers")
    return isinstance(gone, list | tuple) and VOICE_INDEX in gone


def _seed(data: ReportData) -> str:
    seeds = data.evaluation.facts.get("seeds")
    seed = seeds.get("examples") if isinstance(seeds, dict) else None
    return f" (seed {seed})" if isinstance(seed, int) else ""


def _decoding(data: ReportData) -> str:
    """`greedy decoding`, or how the answers were drawn."""
    how = data.evaluation.facts.get("decoding")
    if not isinstance(how, dict) or how.get("do_sample") is not True:
        return "greedy decoding"
    return f"the same decoding (drawn by seed at temperature {how.get('temperature')}, first pass)"


def _examples_sentence(data: ReportData) -> str:
    shown = data.evaluation.examples
    if not shown:
        return "No answers were generated."
    kinds = Counter(e.why for e in shown)
    asked = kinds["asked"]
    cases = count(kinds["safety"], "safety case")
    ranked = (
        "the voice index is withdrawn and ranks none;"
        if _withdrawn(data) and not kinds["best"] + kinds["worst"]
        else f"the {kinds['best']} best and the {kinds['worst']} worst by the change of the "
        "automatic voice index,"
    )
    said = (
        f"{count(len(shown) - asked, 'scenario')}, each answered by the baseline and by the "
        f"trained model with the same system prompt and {_decoding(data)}. They were chosen by a "
        f"fixed rule, not by taste: {ranked} {kinds['random']} drawn at random{_seed(data)}, and "
        f"{cases}. Losses are shown."
    )
    if asked:
        said += f" {asked} more {'was' if asked == 1 else 'were'} asked for by name."
    answers = data.evaluation.facts.get("answers")
    trained = answers.get("trained") if isinstance(answers, dict) else None
    if isinstance(trained, dict) and trained.get("truncated"):
        said += (
            f" {trained['truncated']} of {trained.get('answers')} answers of the trained model "
            "were cut off at the length limit."
        )
    return said


def _provenance(data: ReportData) -> list[tuple[str, str]]:
    rows = [
        ("Job", data.job_id),
        ("Requested by", data.requested_by),
        ("Approved by", data.approved_by),
        ("Cost confirmed by", data.confirmed_by),
        ("Started", formats.timestamp(data.created_at)),
        ("Finished", formats.timestamp(data.finished_at)),
        ("Price", _price(data)),
        ("Interruptions", _interrupted(data)),
        *data.provenance.items(),
    ]
    if data.spec_hash not in data.provenance.values():
        rows.append(("Spec sha256", data.spec_hash))
    return [(name, str(value)) for name, value in rows if value]


def _price(data: ReportData) -> str:
    per_hour = f"${float(data.price['usd_per_hour']):,.4f} an hour"
    return f"{per_hour}, {data.price['source']}, {data.price['as_of']}; cost by part: section Cost"


def _interrupted(data: ReportData) -> str:
    if not data.interruptions:
        return "none"
    steps = ", ".join(f"at step {i.killed_at}, from {i.resumed_from}" for i in data.interruptions)
    return f"{len(data.interruptions)}: {steps}"


def _voice_table(data: ReportData) -> Table:
    """The index by characteristic; empty when the facts do not hold it."""
    parts = data.evaluation.facts.get(VOICE_PARTS)
    n = summary.whole_numbers(data.evaluation.facts, "answers", "trained").get("answers")
    asked, gone = f"{n} " if n else "", _withdrawn(data)
    rows: list[tuple[str | float | None, ...]] = []
    for name, models in parts.items() if isinstance(parts, dict) else ():
        if isinstance(models, dict):
            found = [models.get(name) for name in PARTS]
            levels = [v if isinstance(v, int | float) else None for v in found]
            rows.append((str(name), *levels, "" if gone else voice_flag(*levels[:3])))
    return Table(
        columns=("characteristic", *PARTS, "flag"),
        rows=tuple(rows),
        caption=f"The automatic index (markers, 0 to 100) of the {asked}answers by characteristic, "
        "for those that a program can count"
        + (
            ". The index is withdrawn: no change is shown."
            if gone
            else "; change in points, paired by scenario, 95 % CI. A flag says where to look first."
        ),
    )


def voice_flag(baseline: float | None, trained: float | None, gold: float | None) -> str:
    """Where a person should look: what is gone, or went away from the advisor's own answers."""
    if baseline is None or trained is None:
        return ""
    if trained == 0 and (gold or baseline):
        return "absent after training" if baseline else "absent"
    if gold is None:
        return "less than before" if trained < baseline else ""
    return "further from gold" if abs(trained - gold) > abs(baseline - gold) else ""


def title(data: ReportData) -> str:
    return f"{words(data.brand)['validation_report']}: {data.name or data.training_file}"
