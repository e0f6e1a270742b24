"""Language models judge a job's answers: who they are, what they may cost, what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brightrun import locking
from brightrun.errors import EvaluationError, UsageError

if TYPE_CHECKING:
    from brightrun.context import JobContext
    from brightrun.settings import Settings
    from evals.judge_llm import LlmJudge, Task
    from evals.judge_names import JudgeName
    from evals.judge_purse import Price

MOST_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Terms:
    """How to judge, and for how much at most. price: USD per million tokens, IN,OUT."""

    repeats: int = 3
    price: str = ""
    max_usd: float = 5.0
    at_once: int = 4


def checked(
    settings: Settings, judges: Sequence[str], terms: Terms
) -> list[tuple[JudgeName, Price, str]]:
    """(judge, price, key) of all; UsageError or EvaluationError says what is wrong or missing."""
    from evals import judge_names

    named = [judge_names.parse(text) for text in judges]
    if not math.isfinite(terms.max_usd):
        raise UsageError(f"--max-usd {terms.max_usd} is no sum", fix="e.g. --max-usd 5")
    if terms.price:
        _one_price(named)
    return [(name, _price(name, terms.price), _key(settings, name)) for name in named]


def judge_all(job: JobContext, judges: Sequence[str], terms: Terms) -> list[LlmJudge]:
    """Every judge over all answers, into the run folder. All names and prices are checked first."""
    from evals import judge_names, judgements
    from flows.terminal import say

    asked, tasks = checked(job.settings, judges, terms), tasks_of(job)
    done = []
    with _alone(job):
        for name, price, key in asked:
            made = _judged(job, name, price, key, tasks, terms)
            say(told(made))
            done.append(made)
    headers, sha = judgements.judges(job.folder).values(), _rubric_sha256()
    families = {header["family"] for header in headers if judgements.holds(header, sha)}
    if len(families) < judge_names.FEWEST_FAMILIES:
        say("All judges are of one family: their tastes may be alike.")
    return done


def tasks_of(job: JobContext) -> list[Task]:
    """All passes of all scenarios that both models have answered, in plan order."""
    from brightrun.modelnames import MODELS
    from evals import own, rating
    from evals.judge_llm import Task
    from evals.ratings import ANSWERS, answers_of, base_of

    rows = job.folder.read_jsonl(ANSWERS)
    texts = {(r["model"], r["scenario_id"], r["pass"]): str(r["text"]) for r in rows}
    if not texts:
        raise EvaluationError(
            f"job {job.job_id} has no answers to judge", fix="let it finish its measuring first"
        )
    numbers = sorted({number for _, _, number in texts})
    scenarios, base = own.of_folder(job.folder).scenarios, base_of(job.folder)
    # Drawn from the same names as for people: both must be asked about the same voices.
    rated = sorted({name for _, name in answers_of(job.folder)})
    voiced = set(rating.voiced(rated, job.spec.values.seed))
    return [
        Task(
            s.scenario_id,
            number,
            s.client_message,
            {m: rating.masked(texts[m, s.scenario_id, number], base) for m in MODELS},
            s.scenario_id in voiced,
        )
        for s in scenarios
        for number in numbers
        if all((m, s.scenario_id, number) in texts for m in MODELS)
    ]


def _place(job: JobContext) -> Path:
    return job.settings.home.resolve() / "judges"


def _alone(job: JobContext) -> AbstractContextManager[None]:
    """One judging of a job at a time on this machine: two would each spend up to the cap."""
    place = _place(job) / f"{job.job_id}.lock"
    refusal = EvaluationError(
        f"job {job.job_id} is being judged already",
        cause=f"another process holds {place}: two would pass the cap together",
        fix="wait until it has ended, then repeat: what was judged is not paid for again",
    )
    return locking.alone(place, lambda: refusal)


def _judged(
    job: JobContext,
    name: JudgeName,
    price: Any,
    key: str,
    tasks: list[Task],
    terms: Terms,
) -> LlmJudge:
    import httpx
    from rich.progress import Progress

    from brightrun.clock import SystemClock
    from evals import judge_wire, judgements
    from evals.judge_llm import Cache, LlmJudge
    from evals.judge_purse import Purse
    from evals.rating import load_rubric
    from flows.terminal import ERR

    place = _place(job)
    purse = Purse(price, Decimal(str(terms.max_usd)), place / f"{job.job_id}.spend.jsonl")
    with (
        httpx.Client(timeout=judge_wire.TIMEOUT_S) as client,
        Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar,
    ):
        sender = judge_wire.Sender(client, purse, SystemClock())
        row = bar.add_task(name.name)
        found = LlmJudge(
            name,
            judge_wire.chat(name, key, MOST_TOKENS, sender),
            load_rubric(),
            Cache(place / "cache"),
            repeats=terms.repeats,
            at_once=terms.at_once,
            progress=lambda done, total: bar.update(row, completed=done, total=total),
        )
        found.run(tasks)
    judgements.write(job.folder, found, usd=float(purse.total), rubric_sha256=_rubric_sha256())
    return found


def _rubric_sha256() -> str:
    from evals.sources import source_versions

    return str(source_versions()["rubric.json"]["sha256"])


def told(judge: LlmJudge) -> str:
    t = judge.tally
    return (
        f"{judge.name}: {t.read} of {t.asked} replies read ({t.from_cache} known before), "
        f"{t.refused} refused, {t.cut_off} cut off, {t.unreadable} unreadable; "
        f"{t.ties_by_order} of {t.pairs} pairs undecided because the order decided"
    )


def facts_of(judge: LlmJudge) -> dict[str, Any]:
    from dataclasses import asdict

    return {"judge": judge.name, "family": judge.judge.family, **asdict(judge.tally)}


def _one_price(named: Sequence[JudgeName]) -> None:
    """UsageError: one --price cannot be that of several models."""
    if len(set(named)) > 1:
        raise UsageError(
            f"one --price for {', '.join(sorted(name.name for name in named))}",
            cause="each model has a price of its own, and the cap is kept by it",
            fix="one command for each: the cap and what was judged go on from one to the next",
        )


def _price(name: JudgeName, text: str) -> Any:
    from evals.judge_purse import Price

    if not text and name.own_server:
        return Price(Decimal(0), Decimal(0))
    try:
        cost_in, cost_out = (Decimal(part) for part in text.split(","))
    except (ValueError, InvalidOperation):
        raise UsageError(
            f"--price {text!r} says no price for {name.name}",
            fix="USD per million tokens as on the vendor's page, e.g. --price 2.5,10",
        ) from None
    if not all(cost.is_finite() and cost >= 0 for cost in (cost_in, cost_out)):
        raise UsageError(f"--price {text!r} is no price", fix="e.g. --price 2.5,10")
    return Price(cost_in, cost_out)


def _key(settings: Settings, name: JudgeName) -> str:
    """A vendor's key goes to that vendor only."""
    known = {"openai": settings.openai_api_key, "anthropic": settings.anthropic_api_key}
    key = settings.judge_api_key if name.own_server else known[name.protocol]
    if key is None and not name.own_server:
        raise EvaluationError(
            f"no key for {name.name}", fix=f"set BRIGHTRUN_{name.protocol.upper()}_API_KEY"
        )
    return key.get_secret_value() if key else ""
