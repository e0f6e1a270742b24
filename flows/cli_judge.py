"""`brightrun rate judge`: language models score the answers and compare them, within a cap."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.options import Job, Json

Judges = Annotated[
    list[str],
    typer.Option(
        "--judge",
        help="openai:MODEL, anthropic:MODEL, or either with @BASE_URL. Two families advised.",
    ),
]
JudgePrice = Annotated[
    str, typer.Option(help="USD per million tokens, IN,OUT. Needed for openai and anthropic.")
]
JudgeCap = Annotated[
    float, typer.Option(min=0, help="Cap over all judging of this job; stops before it.")
]


def judge(
    job: Job,
    judges: Judges,
    repeats: Annotated[int, typer.Option(min=3, max=20, help="Scores per answer.")] = 3,
    price: JudgePrice = "",
    max_usd: JudgeCap = 5.0,
    at_once: Annotated[int, typer.Option(min=1, max=32, help="Requests side by side.")] = 4,
    json: Json = False,
) -> None:
    """Let language models judge all answers, then make verdicts and the report's next version.

    Keys: BRIGHTRUN_OPENAI_API_KEY, BRIGHTRUN_ANTHROPIC_API_KEY; BRIGHTRUN_JUDGE_API_KEY for a
    base URL of one's own. Repeating the command asks only for what is not known yet.
    """
    from brightrun.context import open_job
    from flows.judging import Terms, facts_of, judge_all
    from flows.reassessing import reassess
    from flows.terminal import emit, say
    from reports import claims

    known = open_job(job)
    done = judge_all(known, judges, Terms(repeats, price, max_usd, at_once))
    result = reassess(known, by="rate judge")
    if json:
        emit(
            {
                "judges": [facts_of(made) for made in done],
                "version": result.report.version,
                "report": str(result.html),
                "verdicts": [v.model_dump(mode="json") for v in result.evaluation.verdicts],
            }
        )
    say(f"{claims.ei_claim(result.evaluation.verdicts)}.")
    say(f"Report {result.report.report_id}: {result.html}")
