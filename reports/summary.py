"""Page 1 of the validation report: what a reader who is not technical needs, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from brightrun import losses
from brightrun.counting import count
from brightrun.reckoning import WITHIN
from brightrun.verdicts import ReportData, Verdict
from reports import blocks, claims, formats
from reports.blocks import Fact
from reports.escape import Markdown
from reports.words import words

ALIASES = {"demo": "SmolLM2-135M-Instruct (demo)", "tiny": "generated test model (tiny)"}
MEANINGLESS = {
    "Smoke test": "This was a smoke test: two conversations, two steps, a few questions. It proves "
    "that the whole path works at this provider. Nothing in it says anything about the training "
    "data.",
    "Test model": "The base model is a generated test model with random weights. This run proves "
    "that the pipeline works from end to end. Nothing in it says anything about the training "
    "data.",
}


def cover(data: ReportData) -> Markdown:
    said = words(data.brand)
    lines = [
        (said["prepared_for"], data.client),
        (said["file"], "" if data.evaluation.foreign else data.training_file),
        (said["base"], base_model(data)),
        (said["preset"], data.preset),
        (said["date"], formats.date(data.finished_at)),
        (said["job"], data.job_id),
    ]
    kicker = f"{data.brand.house} · {said['validation_report']}"
    shown = [(name, formats.clip(value, 80)) for name, value in lines if value]
    return blocks.cover(
        kicker,
        formats.clip(data.name or data.training_file, 140),
        shown,
        logo=blocks.logo(data.brand),
    )


def base_model(data: ReportData) -> str:
    """Name of the base model, with its revision when there is one."""
    base = data.spec.get("base_model") or {}
    revision = str(base.get("revision") or "")
    name = str(base.get("name") or "unknown")
    if name in ALIASES:
        return ALIASES[name]
    return name + (f" ({revision[:12]})" if revision else "")


def banners(data: ReportData) -> Markdown:
    found = ""
    if data.meaningless:
        why = MEANINGLESS[data.meaningless]
        found += blocks.banner("bad", "The numbers in this report mean nothing.", why)
    if data.interruptions:
        text = "; ".join(
            f"stopped after step {i.killed_at}, resumed from "
            + (f"the checkpoint at step {i.resumed_from}" if i.resumed_from else "the start")
            for i in data.interruptions
        )
        found += blocks.banner("good", interrupted(data), text[:1].upper() + text[1:] + ".")
    return Markdown(found)


def interrupted(data: ReportData) -> str:
    """ "Interrupted 2x, resumed successfully; 14 min and $0.58 lost"."""
    known = [(i.seconds_lost, i.usd_lost) for i in data.interruptions]
    seconds = sum(seconds or 0.0 for seconds, _ in known)
    usd = Decimal(str(sum(usd or 0.0 for _, usd in known)))
    measured = any(usd is not None for _, usd in known)
    return losses.said(len(known), seconds, usd, measured, True)


def tiles(data: ReportData, verdicts: Sequence[Verdict]) -> Markdown:
    met, goals = len(claims.met(verdicts)), claims.targets(verdicts)
    low, likely, high = data.estimate_usd
    numbers, said = _data_numbers(data), words(data.brand)
    return blocks.facts(
        [
            Fact(said["targets"], f"{met} of {len(goals)}", _rest(verdicts)),
            Fact(said["trained_on"], "not known", "adapter from elsewhere")
            if data.evaluation.foreign
            else Fact(
                said["trained_on"],
                count(int(numbers.get("train_conversations") or 0), "conversation"),
                count(int(numbers.get("supervised_pairs") or 0), "advisor answer"),
            ),
            Fact(
                said["spent"],
                formats.usd(data.cost_usd),
                f"estimate {formats.usd(likely)} ({formats.usd(low)}–{formats.usd(high)})",
            ),
            Fact(said["time"], formats.duration(data.hours * 3600), _interruption_tile(data)),
        ]
    )


def _data_numbers(data: ReportData) -> dict[str, Any]:
    found = data.spec.get("data") or {}
    return found if isinstance(found, dict) else {}


def _rest(verdicts: Sequence[Verdict]) -> str:
    """`headline` without its first part."""
    return claims.headline(verdicts).rstrip(".").partition(", ")[2]


def _interruption_tile(data: ReportData) -> str:
    return losses.counted(len(data.interruptions), True) or "without interruption"


def trained(data: ReportData) -> str:
    if data.evaluation.foreign:
        return (
            f"An adapter from elsewhere was measured on the base model, "
            f"{formats.clip(base_model(data), 80)}. What it was trained on, and whether it has "
            f"seen what it is tested on, is not known.{broken_answers(data)}"
        )
    numbers, values = _data_numbers(data), data.spec.get("values") or {}
    held = int(numbers.get("validation_conversations") or 0)
    epochs = values.get("epochs")
    times = f" {formats.times(epochs)}" if isinstance(epochs, int) else ""
    return (
        f"The base model, {formats.clip(base_model(data), 80)}, read the training conversations of "
        f"{formats.clip(data.training_file, 80)}"
        f"{times} and was trained to answer as the advisor does. "
        f"{count(held, 'conversation')} "
        f"{'was' if held == 1 else 'were'} held back to test it on words that it had never seen."
        f"{broken_answers(data)}"
    )


def broken_answers(data: ReportData) -> str:
    """The counts when most of the trained answers loop or are cut off; "" when they do not."""
    found = whole_numbers(data.evaluation.facts, "answers", "trained")
    asked, cut = found.get("answers", 0), found.get("truncated", 0)
    looping = found.get("looping")  # absent in older reports
    if 2 * found.get("truncated_or_looping", cut) <= asked:
        return ""
    limit = whole_numbers(data.evaluation.facts, "decoding").get("max_new_tokens")
    at = f" of {count(limit, 'token')}" if limit is not None else ""
    said = f"{cut} {'was' if cut == 1 else 'were'} cut off at the length limit{at}"
    if looping is not None:
        said += f" and {looping} {'goes' if looping == 1 else 'go'} round in circles"
    return f" Most of the trained answers cannot be used as they are: of {asked}, {said}."


def whole_numbers(found: Any, *names: str) -> dict[str, int]:
    """The whole numbers under a nested name of the facts; {} where there is no such part."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    parts = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in parts if isinstance(value, int)}


def ei_box(data: ReportData, verdicts: Sequence[Verdict]) -> Markdown:
    said = claims.ei_claim(verdicts)
    if said != "EI claim: not measured":
        return Markdown("")
    text = "Empathy can only be judged by people or by a calibrated judge, and none took part yet."
    if data.next_command:
        text += " The next command:"
    return blocks.banner("warn", said, text, data.next_command)


def cost_sentence(data: ReportData) -> str:
    low, likely, high = data.estimate_usd
    said = (
        f"{formats.usd(data.cost_usd)} for {formats.duration(data.hours * 3600)} of compute. The "
        f"estimate before the start was {formats.usd(likely)} ({formats.usd(low)} to "
        f"{formats.usd(high)})"
    )
    said += f"; {how_far_off(data.cost_off)}." if data.cost_off is not None else "."
    if _notional(data):
        said += " The price is notional: the job ran on an own machine and nothing was billed."
    return said


def how_far_off(off: float) -> str:
    """`the job cost 8.0% less, inside the ±15% that we aim at`."""
    where = "inside" if abs(off) <= float(WITHIN) else "outside"
    more = "more" if off > 0 else "less"
    distance = formats.percent(abs(off))
    return f"the job cost {distance} {more}, {where} the ±{WITHIN:.0%} that we aim at"


def _notional(data: ReportData) -> bool:
    return "notional" in str(data.price.get("source", "")).lower()


def limits(data: ReportData, verdicts: Sequence[Verdict]) -> list[str]:
    found = ["Anything about the training data: see the first box."] if data.meaningless else []
    found += claims.caveats(verdicts)
    found.append("Automatic markers count features of style. They do not measure empathy.")
    found.append(
        "One training run with one seed was measured: intervals cover the choice of test items, "
        "not the chance in training."
    )
    if data.cuts:
        cut = count(len(data.cuts), "thing")
        found.append(
            f"The preset “{formats.clip(data.preset, 40)}” left out {cut}: see “What was cut”."
        )
    return found
