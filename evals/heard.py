"""Who has judged a job, read from its run folder, and how the Evaluation takes their word over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brightrun.runfolder import RunFolder
from brightrun.verdicts import MetricName
from evals import gates, human, judged, judgements, ratings
from evals.measurements import Measurements
from evals.rating import Rubric, load_rubric
from evals.scores import Opinions
from evals.sources import DATA, Scenario, source_versions


@dataclass(frozen=True, slots=True)
class Voices:
    """Who has judged: the raters' sheets, all opinions by kind, the sheets'
    hashes, and what is known of the language models."""

    rubric: Rubric
    people: human.People | None = None
    opinions: tuple[Opinions, ...] = ()
    sheets: Mapping[str, str] = field(default_factory=dict)
    models: tuple[dict[str, Any], ...] = ()


def heard_of(folder: RunFolder, data: Path = DATA) -> Voices | None:
    """Everybody whose word lies in the run folder; None when nobody has judged."""
    rated, judges = folder.exists(ratings.TAKEN), folder.names(judgements.FOLDER)
    if not rated and not judges:
        return None
    rubric = load_rubric(data)
    people = human.people(ratings.taken(folder, rubric)) if rated else None
    said = people.opinions() if people else None
    sha = source_versions(data)["rubric.json"]["sha256"]
    models, headers = judgements.read(folder, said, sha)
    opinions = (*((said,) if said else ()), *models)
    return Voices(rubric, people, opinions, ratings.hashes(folder), tuple(headers))


def unheard(heard: Voices | None) -> str:
    """Whose word lies in the run folder and does not count, and why; empty for nobody's."""
    names = [str(model["judge"]) for model in heard.models if "left_out" in model] if heard else []
    return f"Left out: {', '.join(names)}, {judgements.LEFT_OUT}." if names else ""


def judge_by(
    heard: Voices,
    found: Measurements,
    scenarios: Sequence[Scenario],
    items: Sequence[gates.Item],
) -> judged.Judged | None:
    failed = {
        (model, item.scenario.scenario_id, item.number)
        for item in items
        for model, ruling in (("baseline", item.baseline), ("trained", item.trained))
        if not ruling.passed and not ruling.review
    }
    basis = judged.Basis(
        rubric=heard.rubric,
        arcs={s.scenario_id: s.arc for s in scenarios},
        texts={key: answer.text for key, answer in found.answers.items()},
        failed=failed,
        targets=found.plan["targets"],
        floor=found.plan.get("floors", {}).get(MetricName.emotional_intelligence.value),
    )
    return judged.conclude(heard.opinions, heard.people, basis)


def tables_of(found: judged.Judged) -> dict[str, Any]:
    return {
        "ei": found.ei_table,
        "voice": found.voice_table,
        "correctness": found.correctness,
        "judges": found.judges,
        "flags": found.flags,
    }


def judged_facts(heard: Voices | None, found: judged.Judged | None) -> dict[str, Any]:
    if heard is None or found is None:
        return {}
    return {
        "judged": {
            **found.facts,
            "sheets": dict(heard.sheets),
            "language_models": list(heard.models),
        }
    }
