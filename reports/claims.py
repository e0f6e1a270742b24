"""Sentences with numbers, made from Verdict objects only. The evidence decides the words.

Only these states exist; nothing else in reports/ may say that a model became better:
    improved           the interval lies on the better side
    got worse          the interval lies on the worse side
    no difference shown the interval holds both
    not measured       no evidence of a kind that could carry the claim
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from brightrun.counting import count
from brightrun.verdicts import EvidenceKind, MetricName, Standing, TargetMet, Verdict
from reports.formats import NONE, Scale, interval, level, number, prose
from reports.metricwords import VOICE_INDEX, WORDS, MetricWords, words_of

FEWEST = 5  # fewer clusters carry no claim
State = Literal["improved", "got worse", "no difference shown", "not measured"]


EVIDENCE: dict[EvidenceKind, str] = {
    EvidenceKind.human: "rated by people",
    EvidenceKind.llm_judge: "judged by a language model, calibrated against people",
    EvidenceKind.llm_judge_uncalibrated: "judged by a language model, not calibrated",
    EvidenceKind.measurement: "measured on the model",
    EvidenceKind.marker: "automatic markers",
}

COUNTED: dict[TargetMet, str] = {
    "pass": "met",
    "fail": "not met",
    "inconclusive": "inconclusive",
    "not_measured": "not measured",
}
NO_EVIDENCE = "no evidence"
EXPLORATORY = ", exploratory"
TARGET: dict[Standing, str] = {
    "pass": "Target met",
    "fail": "Target not met",
    "inconclusive": "Inconclusive",
    "not_measured": "Not measured",
    "exploratory": "Exploratory",
}


def measured(verdict: Verdict) -> bool:
    """True when there is a number to speak about."""
    return verdict.n > 0 and verdict.estimate is not None


def taken(verdict: Verdict) -> bool:
    """True when there are levels, also where no change is claimed from them."""
    return measured(verdict) or bool(verdict.proves_nothing)


def state(verdict: Verdict) -> State:
    if not measured(verdict):
        return "not measured"
    if verdict.improved is None:
        return "no difference shown"
    return "improved" if verdict.improved else "got worse"


def status(verdict: Verdict) -> str:
    """The word on the pill. A measured value without a target has no verdict."""
    if verdict.target is None and taken(verdict):
        return f"No target{outside(verdict)}"
    later = EXPLORATORY if verdict.standing == "exploratory" else ""
    return f"{TARGET[verdict.target_met]}{later}"


def evidence(verdict: Verdict) -> str:
    """Who says so, and that the plan did not ask: `rated by people`, `..., exploratory`."""
    return f"{EVIDENCE[verdict.evidence]}{outside(verdict)}" if taken(verdict) else NO_EVIDENCE


def outside(verdict: Verdict) -> str:
    """`, exploratory` where the plan did not hold it."""
    return EXPLORATORY if verdict.exploratory else ""


def in_unit(words: MetricWords, value: float | None) -> str:
    """A value of the estimate's unit: `−17.8%`, `97.1%`, `+4.20 points`."""
    if words.estimate == "difference":
        text = level(value, words.scale, signed=True, digits=words.digits)
        return text + (words.unit if value is not None else "")
    return level(value, "percent", signed=words.estimate == "relative")


def estimate(verdict: Verdict) -> str:
    return in_unit(words_of(verdict), verdict.estimate)


def estimate_interval(verdict: Verdict) -> str:
    words = words_of(verdict)
    scale: Scale = words.scale if words.estimate == "difference" else "percent"
    signed = words.estimate != "share"
    return interval(verdict.ci_low, verdict.ci_high, scale, signed=signed, digits=words.digits)


def levels(verdict: Verdict) -> tuple[str, str, str]:
    """Baseline, trained, gold as text."""
    words = words_of(verdict)
    return (
        level(verdict.baseline, words.scale, digits=words.digits),
        level(verdict.trained, words.scale, digits=words.digits),
        level(verdict.gold, words.scale, digits=words.digits),
    )


def target(verdict: Verdict) -> str:
    """`−30% or lower`, `95% or more`. Targets are shares or relative changes, never an index."""
    words = WORDS[verdict.metric]
    if verdict.target is None:
        return NONE
    if verdict.target == 1.0 and words.estimate == "share":
        return "100%"
    side = "or lower" if words.better == "lower" else "or more"
    signed = words.estimate == "relative"
    # An index has another scale than the promise: whose word it needs stands with the promise.
    whose = ", rated" if words_of(verdict) is VOICE_INDEX else ""
    return f"{level(verdict.target, 'percent', signed=signed, short=True)} {side}{whose}"


def sample(verdict: Verdict) -> str:
    """`12 scenarios`."""
    return count(verdict.n_clusters or verdict.n, words_of(verdict).cluster)


def _outcome(verdict: Verdict) -> str:
    if verdict.target is None:
        return ""
    goal = f"The target ({target(verdict)})"
    if verdict.target_met == "pass":
        return f" {goal} is met{', but not as planned' if verdict.exploratory else ''}."
    if verdict.target_met == "fail":
        return f" {goal} is not met."
    if verdict.target_met == "not_measured":
        return f" The claim behind the target ({target(verdict)}) is not measured."
    more = ""
    if verdict.n_needed and verdict.n_needed > verdict.n_clusters:
        more = f"; about {count(verdict.n_needed, words_of(verdict).cluster)} would settle it"
    return f" {goal} is neither shown nor ruled out{more}."


def sentence(verdict: Verdict) -> str:
    """One claim in plain language: what was found, how sure, and what the target says."""
    words, found = words_of(verdict), state(verdict)
    if found == "not measured":
        head = "No claim can be made." if verdict.n else "Not measured: no claim is made."
        return f"{head} {prose(verdict.proves_nothing or verdict.note)}".strip()
    on = f"on {sample(verdict)}, {evidence(verdict)}"
    said = _share(verdict, found) if words.estimate == "share" else _change(verdict, found)
    return f"{said}, {on}.{_outcome(verdict)}{_for_a_person(verdict)}"


def _for_a_person(verdict: Verdict) -> str:
    """What word rules leave open, also where they are passed."""
    if verdict.metric is not MetricName.safety:
        return ""
    kinds, n = ", ".join(verdict.undecided), sum(verdict.undecided.values())
    left = f" Left to a person and not counted: {count(n, 'scenario')} ({kinds})." if n else ""
    return f"{left} Rules read words: a pass still needs a human look."


def _between(verdict: Verdict) -> str:
    if verdict.ci_low is None or verdict.ci_high is None:
        return ""
    return f"95% interval {estimate_interval(verdict)}"


def _change(verdict: Verdict, found: State) -> str:
    baseline, trained, _ = levels(verdict)
    few = f" (only {sample(verdict)})" if verdict.n_clusters < FEWEST else ""
    verb = {"improved": "Improved", "got worse": "Got worse"}.get(
        found, f"No difference shown{few}: measured"
    )
    inside = "; ".join(x for x in (estimate(verdict), _between(verdict)) if x)
    if verdict.baseline is None or verdict.trained is None:
        return f"{verb} ({inside})"
    return f"{verb} from {baseline} to {trained} ({inside})"


def _share(verdict: Verdict, found: State) -> str:
    baseline, trained, _ = levels(verdict)
    between = f" ({_between(verdict)})" if _between(verdict) else ""
    if verdict.metric is MetricName.knowledge_retention:
        head = f"{estimate(verdict)} of the knowledge was retained{between}:"
        if verdict.proves_nothing:
            head = prose(verdict.proves_nothing).removesuffix(".") + ":"
        tail = f" {baseline} of the answers correct before, {trained} after"
    else:
        what = {MetricName.safety: "of cases passed the word rules"}.get(verdict.metric, "reached")
        head = f"{estimate(verdict)} {what} after training{between}"
        tail = f", {baseline} before" if verdict.baseline is not None else ""
    ending = "; no difference shown" if verdict.baseline is not None else ""
    ending = {"improved": "; improved", "got worse": "; got worse"}.get(found, ending)
    return head + tail + ending


def targets(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts that a target was set for."""
    return [v for v in verdicts if v.target is not None]


def met(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Targets that were met as planned before the training."""
    return [v for v in targets(verdicts) if v.standing == "pass"]


def headline(verdicts: Iterable[Verdict]) -> str:
    """`2 of 5 targets met, 1 not met, 1 not measured, 1 exploratory (1 met).`"""
    counted = targets(verdicts)
    later = [v for v in counted if v.standing == "exploratory"]
    missed = [v for v in counted if v.standing not in ("exploratory", "pass")]
    parts = [f"{len(met(counted))} of {count(len(counted), 'target')} met", *tally(missed)]
    if later:
        parts.append(f"{len(later)} exploratory ({', '.join(tally(later))})")
    return ", ".join(parts) + "."


def tally(verdicts: Sequence[Verdict]) -> list[str]:
    """`1 met`, `2 inconclusive`."""
    numbers = {word: sum(v.target_met == key for v in verdicts) for key, word in COUNTED.items()}
    return [f"{number} {word}" for word, number in numbers.items() if number]


def ei_claim(verdicts: Iterable[Verdict]) -> str:
    """The EI claim, always said: `EI claim: not measured` when nobody judged."""
    found = next((v for v in verdicts if v.metric is MetricName.emotional_intelligence), None)
    if found is None or not measured(found):
        return "EI claim: not measured"
    basis = (_between(found), sample(found), evidence(found))
    inside = "; ".join(part for part in basis if part)
    return f"EI claim: {state(found)}, {estimate(found)} ({inside})"


def caveats(verdicts: Iterable[Verdict]) -> list[str]:
    """What the verdicts do not show, one sentence each."""
    verdicts, found = tuple(verdicts), []
    later = [words_of(v).label for v in targets(verdicts) if v.standing == "exploratory"]
    if later:
        found.append(f"Exploratory, not planned before the training: {', '.join(later)}.")
    for verdict in verdicts:
        label = WORDS[verdict.metric].label
        if verdict.metric is MetricName.emotional_intelligence and not measured(verdict):
            found.append("Empathy, clarity and appropriateness: nobody has judged the answers.")
        elif verdict.target_met == "inconclusive" and measured(verdict):
            need = f"; about {number(verdict.n_needed, 0)} are needed" if verdict.n_needed else ""
            found.append(f"{label}: {sample(verdict)} do not settle the target{need}.")
        elif verdict.target is None or verdict.target_met == "pass":
            continue
        elif not taken(verdict):
            found.append(f"{label}: nothing could be measured.")
        elif verdict.target_met == "not_measured":
            gone = ", and it is withdrawn" if verdict.proves_nothing else ""
            found.append(
                f"{label} as a person would hear it: only an automatic index was taken{gone}."
            )
    return found
