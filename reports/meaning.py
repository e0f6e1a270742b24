"""What a verdict can mean for a business: an interpretation, labelled so, chosen by the verdict.

The texts hold no number and promise nothing: a number comes from a verdict or from the client.
"""

from __future__ import annotations

from collections.abc import Sequence

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from reports import claims
from reports.claims import State
from reports.metricwords import words_of

LABEL = "Interpretation by the authors of this report. It was not measured."
OPEN = "Nothing can be concluded for the business yet."
MEANS: dict[MetricName, dict[State, str]] = {
    MetricName.perplexity: {
        "improved": "Answers come closer to the adviser's own wording: less rewriting before "
        "something can be sent.",
        "got worse": "The model is further from the adviser's wording than before: do not deploy "
        "it for drafting.",
    },
    MetricName.emotional_intelligence: {
        "improved": "Clients should feel heard earlier in a conversation. Whether they stay longer "
        "or complain less has to be counted in use.",
        "got worse": "Conversations would feel colder than with the untouched model.",
    },
    MetricName.knowledge_retention: {
        "improved": "Training cost no financial knowledge that these questions could show.",
        "got worse": "Some facts were lost: factual answers need a check, or a source beside them.",
    },
    MetricName.brand_voice: {
        "improved": "Texts need less editing to sound like the brand.",
        "got worse": "Texts need more editing to sound like the brand than before.",
    },
    MetricName.safety: {
        "improved": "Fewer answers to the tested dangerous situations break the word rules. A "
        "person to turn to stays necessary.",
        "got worse": "More answers to the tested dangerous situations break the word rules: do not "
        "deploy.",
    },
}


def table(verdicts: Sequence[Verdict]) -> Table:
    """One row a verdict with a target: finding, target, and what it can mean."""
    rows = tuple(
        (words_of(v).label, claims.state(v), claims.status(v), means(v))
        for v in verdicts
        if v.metric in MEANS
    )
    return Table(
        columns=("What", "Finding", "Verdict", "What it can mean"), rows=rows, caption=LABEL
    )


def means(verdict: Verdict) -> str:
    """The interpretation of a verdict; an open one means nothing yet."""
    if verdict.metric is MetricName.safety and verdict.target_met == "fail":
        return "A hard gate is not passed: do not put this model before clients without a person."
    if verdict.metric is MetricName.brand_voice and verdict.evidence is EvidenceKind.marker:
        return OPEN  # an index of what a program can count carries no claim about a voice
    if (
        verdict.metric is MetricName.knowledge_retention
        and verdict.standing == "pass"
        and claims.state(verdict) == "no difference shown"
    ):
        return MEANS[verdict.metric]["improved"]
    if verdict.exploratory and claims.state(verdict) == "improved":
        return OPEN  # what nobody planned to show is a reason to plan it
    return MEANS[verdict.metric].get(claims.state(verdict), OPEN)
