"""The validation report's content: ReportData -> the values of validation-report.qmd."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from brightrun.verdicts import MetricName, ReportData, Table, Verdict
from reports import blocks, charts, claims, formats, tables
from reports.blocks import Fact
from reports.charts import Chart
from reports.escape import Markdown, markdown

# Page 1 has an own box for an EI claim that nobody measured; the index stands with the markers.
_ELSEWHERE = (MetricName.emotional_intelligence, MetricName.marker_index)
ONE_PAGE_BEGINS = blocks.twin('<div class="one-page">', "#br-one-page[")
ONE_PAGE_ENDS = blocks.twin("</div>", "]\n#pagebreak(weak: true)")
ROOM = blocks.twin("", "#br-room(200pt)")
VOICE_PARTS = "voice_parts"
ALIASES = {"demo": "SmolLM2-135M-Instruct (demo)", "tiny": "generated test model (tiny)"}
MEANINGLESS = (
    "The base model is a generated test model with random weights. This run proves that the "
    "pipeline works from end to end. Nothing in it says anything about the training data."
)


def charts_of(data: ReportData) -> dict[str, Chart | None]:
    """The report's charts by name."""
    evaluation = data.evaluation
    return {
        "loss": charts.loss_curve(data.curve, data.interruptions),
        "perplexity": charts.perplexity(evaluation.perplexity),
        "verdicts": charts.forest(evaluation.verdicts),
        "markers": charts.markers(evaluation.markers),
    }


def context(data: ReportData, drawn: dict[str, Chart | None]) -> dict[str, Markdown | str]:
    """Every placeholder of the template. A plain str is escaped by the template."""
    evaluation = data.evaluation
    verdicts = _ordered(evaluation.verdicts)
    return {
        "cover": _cover(data),
        "banners": _banners(data),
        "tiles": _tiles(data, verdicts),
        "trained": _trained(data),
        "claims": blocks.claim_list(
            [v for v in verdicts if v.metric not in _ELSEWHERE or v.target_met != "not_measured"]
        ),
        "ei": _ei(data, verdicts),
        "cost_sentence": _cost_sentence(data),
        "limits": blocks.bullets(_limits(data, verdicts)),
        "one_page_begins": ONE_PAGE_BEGINS,
        "one_page_ends": ONE_PAGE_ENDS,
        "room": ROOM,
        "headline": claims.headline(verdicts),
        "verdict_table": blocks.verdict_table(verdicts),
        "forest": blocks.figure(drawn["verdicts"], "No verdict has a number to draw."),
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
        "voice": _claim(verdicts, MetricName.brand_voice),
        "voice_table": blocks.table(
            _voice_table(data), tables.VOICE, "No characteristic was measured by itself."
        ),
        "safety_claim": _claim(verdicts, MetricName.safety),
        "safety_table": blocks.table(
            evaluation.safety, tables.SAFETY, "No safety scenario was in this sample."
        ),
        "examples_sentence": _examples_sentence(data),
        "examples": Markdown(
            "".join(blocks.example(i, e) for i, e in enumerate(evaluation.examples, 1))
        ),
        "cuts": blocks.bullets(data.cuts or ("Nothing: this is the full validation.",)),
        "dataset_table": blocks.table(data.dataset),
        "cost_detail": _cost_detail(data),
        "cost_table": blocks.table(data.cost),
        "stages_table": blocks.table(data.stages),
        "measured_facts": blocks.pairs(_facts(data)),
        "provenance": blocks.pairs(_provenance(data), code=True),
        "reproduce": blocks.code(data.reproduce),
    }


def _ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """In the order in which they are sold; the automatic index last."""
    order = list(MetricName)
    first = [MetricName.emotional_intelligence, MetricName.perplexity]
    return sorted(
        verdicts,
        key=lambda v: first.index(v.metric) if v.metric in first else 2 + order.index(v.metric),
    )


def base_model(data: ReportData) -> str:
    """Name of the base model, with its revision when there is one."""
    base = data.spec.get("base_model") or {}
    revision = str(base.get("revision") or "")
    name = str(base.get("name") or "unknown")
    if name in ALIASES:
        return ALIASES[name]
    return name + (f" ({revision[:12]})" if revision else "")


def _cover(data: ReportData) -> Markdown:
    lines = [
        ("Prepared for", data.client),
        ("Training file", data.training_file),
        ("Base model", base_model(data)),
        ("Preset", data.preset),
        ("Date", formats.date(data.finished_at)),
        ("Job", data.job_id),
    ]
    kicker = "Bright Run · Validation report"
    shown = [(name, formats.clip(value, 80)) for name, value in lines if value]
    return blocks.cover(kicker, formats.clip(data.name or data.training_file, 140), shown)


def _banners(data: ReportData) -> Markdown:
    found = ""
    if not data.meaningful:
        found += blocks.banner("bad", "The numbers in this report mean nothing.", MEANINGLESS)
    if data.interruptions:
        text = "; ".join(
            f"stopped after step {i.killed_at}, resumed from "
            + (f"the checkpoint at step {i.resumed_from}" if i.resumed_from else "the start")
            for i in data.interruptions
        )
        found += blocks.banner("good", interrupted(data), text[:1].upper() + text[1:] + ".")
    return Markdown(found)


def interrupted(data: ReportData) -> str:
    return f"Interrupted {len(data.interruptions)}x, resumed successfully"


def _data_numbers(data: ReportData) -> dict[str, Any]:
    found = data.spec.get("data") or {}
    return found if isinstance(found, dict) else {}


def _tiles(data: ReportData, verdicts: Sequence[Verdict]) -> Markdown:
    met = sum(v.target_met == "pass" for v in verdicts)
    goals = claims.targets(verdicts)
    low, likely, high = data.estimate_usd
    numbers = _data_numbers(data)
    return blocks.facts(
        [
            Fact("Targets met", f"{met} of {len(goals)}", _rest(verdicts)),
            Fact(
                "Trained on",
                formats.count(int(numbers.get("train_conversations") or 0), "conversation"),
                formats.count(int(numbers.get("supervised_pairs") or 0), "advisor answer"),
            ),
            Fact(
                "Cost",
                formats.usd(data.cost_usd),
                f"estimate {formats.usd(likely)} ({formats.usd(low)}–{formats.usd(high)})",
            ),
            Fact("Compute time", formats.duration(data.hours * 3600), _interruption_tile(data)),
        ]
    )


def _rest(verdicts: Sequence[Verdict]) -> str:
    """`headline` without its first part."""
    return claims.headline(verdicts).rstrip(".").partition(", ")[2]


def _interruption_tile(data: ReportData) -> str:
    return (
        f"interrupted {len(data.interruptions)}x, resumed"
        if data.interruptions
        else "without interruption"
    )


def _trained(data: ReportData) -> str:
    numbers, values = _data_numbers(data), data.spec.get("values") or {}
    held = int(numbers.get("validation_conversations") or 0)
    epochs = values.get("epochs")
    times = f" {formats.times(epochs)}" if isinstance(epochs, int) else ""
    return (
        f"The base model, {formats.clip(base_model(data), 80)}, read the training conversations of "
        f"{formats.clip(data.training_file, 80)}"
        f"{times} and learned to answer as the advisor does. "
        f"{formats.count(held, 'conversation')} "
        f"{'was' if held == 1 else 'were'} held back to test it on words that it had never seen."
    )


def _ei(data: ReportData, verdicts: Sequence[Verdict]) -> Markdown:
    said = claims.ei_claim(verdicts)
    if said != "EI claim: not measured":
        return Markdown("")
    text = "Empathy can only be judged by people or by a calibrated judge, and none took part yet."
    if data.next_command:
        text += " The next command:"
    return blocks.banner("warn", said, text, data.next_command)


def _notional(data: ReportData) -> bool:
    return "notional" in str(data.price.get("source", "")).lower()


def _cost_sentence(data: ReportData) -> str:
    low, likely, high = data.estimate_usd
    said = (
        f"{formats.usd(data.cost_usd)} for {formats.duration(data.hours * 3600)} of compute. The "
        f"estimate before the start was {formats.usd(likely)} ({formats.usd(low)} to "
        f"{formats.usd(high)})."
    )
    if _notional(data):
        said += " The price is notional: the job ran on an own machine and nothing was billed."
    return said


def _cost_detail(data: ReportData) -> str:
    price = data.price
    rate = price.get("usd_per_hour")
    said = f"{formats.usd(float(rate), 2)} per hour" if rate is not None else "Price unknown"
    origin = ", ".join(str(price[key]) for key in ("source", "as_of") if price.get(key))
    return f"{said}{f' ({origin})' if origin else ''}. {_cost_sentence(data)}"


def _limits(data: ReportData, verdicts: Sequence[Verdict]) -> list[str]:
    found = [] if data.meaningful else ["Anything about the training data: see the first box."]
    found += claims.caveats(verdicts)
    found.append("Automatic markers count features of style. They do not measure empathy.")
    found.append(
        "One training run with one seed was measured: intervals cover the choice of test items, "
        "not the chance in training."
    )
    if data.cuts:
        cut = formats.count(len(data.cuts), "thing")
        found.append(
            f"The preset “{formats.clip(data.preset, 40)}” left out {cut}: see “What was cut”."
        )
    return found


def _claim(verdicts: Sequence[Verdict], metric: MetricName) -> Markdown:
    found = [v for v in verdicts if v.metric is metric]
    if not found:
        return Markdown(f"\n\n{markdown('Not measured: no claim is made.')}\n\n")
    return Markdown("".join(blocks.finding(v) for v in found))


def _training(data: ReportData) -> str:
    if not data.curve:
        return ""
    last = data.curve[-1]
    epochs = formats.count(round(last.epoch), "epoch")
    said = f"{formats.count(last.step, 'optimizer step')}, {epochs}."
    if data.interruptions:
        said += f" {interrupted(data)}."
    return said


def _examples_sentence(data: ReportData) -> str:
    shown = data.evaluation.examples
    if not shown:
        return "No answers were generated."
    said = (
        f"{formats.count(len(shown), 'scenario')}, each answered by the baseline and by the "
        "trained model with the same system prompt and greedy decoding. They were chosen by a "
        "fixed rule, not by taste: the best, the worst and a random part, losses included."
    )
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
        ("job", data.job_id),
        ("specification sha256", data.spec_hash),
        ("requested by", data.requested_by),
        ("approved by", data.approved_by),
        ("started", formats.timestamp(data.created_at)),
        ("finished", formats.timestamp(data.finished_at)),
        *data.provenance.items(),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """The evaluation's facts, one row each; voice by characteristic has its own table."""
    return [
        (formats.arc(name), _compact(value))
        for name, value in data.evaluation.facts.items()
        if name != VOICE_PARTS and value not in ({}, [], "")
    ]


def _compact(value: Any) -> str:
    """A nested value in one line: `lost 0, gained 2`; a sha256 shows its first 12 digits."""
    if isinstance(value, dict):
        parts = [
            f"{name.replace('_', ' ')} ({_compact(part)})"
            if isinstance(part, dict)
            else f"{name.replace('_', ' ')} {_compact(part)}"
            for name, part in value.items()
            if part not in ("", None)
        ]
        return ", ".join(parts)
    if isinstance(value, list | tuple):
        return ", ".join(_compact(part) for part in value)
    if isinstance(value, str):
        return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value
    return formats.cell(value) if isinstance(value, int | float | bool) else formats.NONE


def _voice_table(data: ReportData) -> Table:
    """The index by characteristic, as shares; empty when the facts do not hold it."""
    parts = data.evaluation.facts.get(VOICE_PARTS)
    rows: list[tuple[str | float | None, ...]] = []
    for name, models in parts.items() if isinstance(parts, dict) else ():
        if isinstance(models, dict):
            values = (models.get(model) for model in ("baseline", "trained", "gold"))
            rows.append((str(name), *(v if isinstance(v, int | float) else None for v in values)))
    return Table(
        columns=("characteristic", "baseline", "trained", "gold"),
        rows=tuple(rows),
        caption="The index by characteristic, for those that a program can count.",
    )


def title(data: ReportData) -> str:
    return f"Validation report: {data.name or data.training_file}"
