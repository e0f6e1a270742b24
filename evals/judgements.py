"""What language models have said about a job, in its run folder, and how far people confirm it.

    evals/judges/{judge}.jsonl    scores and choices, one a line
    evals/judges/{judge}.json     who, how asked, what became of the requests, calibration

Calibrated: at least 100 human scores of the same answers and dimensions, of five scenarios or more,
rank correlation with the judge's mean at least 0.5 and its 95 % interval above 0.3. The interval is
as wide as if each scenario were one observation: what is said of one scenario is alike. The bounds
are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import stats

from brightrun.runfolder import RunFolder
from brightrun.verdicts import EvidenceKind
from evals import judge_prompts, statistics
from evals.judge_llm import LlmJudge
from evals.scores import Choice, Opinions, Score

FOLDER = "evals/judges"
FEWEST = 100
LEAST_RHO, LEAST_LOW = 0.5, 0.3
LEFT_OUT = "asked by another rubric or with other prompts than today's; judge again to hear it"
Answer = tuple[str, str, int, str]


def write(folder: RunFolder, judge: LlmJudge, *, usd: float, rubric_sha256: str) -> None:
    """The rows first, then the header: rows without a header do not count."""
    rows: list[dict[str, Any]] = [{"what": "score", **asdict(s)} for s in judge.scores]
    rows += [{"what": "choice", **asdict(c)} for c in judge.choices]
    folder.write_jsonl(f"{FOLDER}/{judge.judge.slug}.jsonl", rows)
    folder.write_json(
        f"{FOLDER}/{judge.judge.slug}.json",
        {
            "judge": judge.name,
            "family": judge.judge.family,
            "prompts": judge_prompts.VERSION,
            "rubric_sha256": rubric_sha256,
            "repeats": judge.repeats,
            "usd_so_far": usd,
            **asdict(judge.tally),
        },
    )


def judges(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """File name -> header, in the order of the names."""
    names = sorted(name for name in folder.names(FOLDER) if name.endswith(".json"))
    return {name: folder.read_json(f"{FOLDER}/{name}") for name in names}


def holds(header: dict[str, Any], rubric_sha256: str) -> bool:
    """Whether who was asked so is heard: by this rubric and by today's prompts."""
    asked = (header["rubric_sha256"], header["prompts"])
    return asked == (rubric_sha256, judge_prompts.VERSION)


def read(
    folder: RunFolder, people: Opinions | None, rubric_sha256: str
) -> tuple[list[Opinions], list[dict[str, Any]]]:
    """Opinions by kind (calibrated judges apart from others), and the headers with calibration.

    Who was asked by another rubric or other prompts is left out, and its header says so.
    """
    parts: dict[EvidenceKind, list[Opinions]] = {}
    headers = []
    for name, header in judges(folder).items():
        if not holds(header, rubric_sha256):
            headers.append({**header, "left_out": LEFT_OUT})
            continue
        rows = folder.read_jsonl(f"{FOLDER}/{name}l")
        scores = tuple(Score(**_row(r)) for r in rows if r["what"] == "score")
        choices = tuple(Choice(**_row(r)) for r in rows if r["what"] == "choice")
        found = calibration(scores, people.scores if people else ())
        sure = found["calibrated"]
        kind = EvidenceKind.llm_judge if sure else EvidenceKind.llm_judge_uncalibrated
        parts.setdefault(kind, []).append(Opinions(kind, scores, choices))
        headers.append({**header, "calibration": found})
    merged = [
        Opinions(
            kind,
            tuple(score for part in said for score in part.scores),
            tuple(choice for part in said for choice in part.choices),
        )
        for kind, said in parts.items()
    ]
    return merged, headers


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "what"}


def calibration(judged: Sequence[Score], human: Sequence[Score]) -> dict[str, Any]:
    """How the judge's means follow the people's, over answers and dimensions that both scored.

    clusters: scenarios among them.
    """
    ours, theirs = _means(judged), _means(human)
    both = sorted(set(ours) & set(theirs))
    n = sum(_answer(row) in ours for row in human)
    clusters = len({scenario for _, scenario, _, _ in both})
    facts: dict[str, Any] = {
        "calibrated": False,
        "human_scores": n,
        "answers": len(both),
        "clusters": clusters,
    }
    if n < FEWEST or clusters < statistics.MIN_CLUSTERS:
        return facts
    x, y = (np.array([side[key] for key in both]) for side in (ours, theirs))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return facts
    rho = float(stats.spearmanr(x, y).statistic)
    # Fisher's z with the variance of a rank correlation (Bonett and Wright 2000), n = scenarios.
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (clusters - 3))
    low = math.tanh(math.atanh(min(rho, 0.999999)) - half)
    return {
        **facts,
        "calibrated": rho >= LEAST_RHO and low >= LEAST_LOW,
        "rank_correlation": rho,
        "rank_correlation_low": low,
        "mean_difference": float((x - y).mean()),
    }


def _answer(row: Score) -> Answer:
    return row.model, row.scenario_id, row.number, row.dimension


def _means(rows: Sequence[Score]) -> dict[Answer, float]:
    found: dict[Answer, list[float]] = {}
    for row in rows:
        found.setdefault(_answer(row), []).append(row.value)
    return {key: sum(values) / len(values) for key, values in found.items()}
