"""Events, verdicts, times and names as the terminal shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run

from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows import outcome, terminal


def test_an_event_is_told_in_words_not_as_code(home: Path) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    JobContext(load(), ledger, "j1").note(
        "stage", {"name": "plan", "elapsed_s": 0.123456, "detail": {"a": "x" * 99}, "gpu": None}
    )
    (line,) = run("events", "j1").stdout.splitlines()
    assert line.endswith("job    stage      name plan, elapsed_s 0.1235, detail ...")
    (event,) = json.loads(run("events", "j1", "--json").stdout)["events"]
    assert event["payload"]["detail"] == {"a": "x" * 99}


VERDICT = {
    "metric": "emotional_intelligence", "evidence": "llm_judge_uncalibrated", "n": 123456,
    "baseline": 12345.678, "trained": 0.000123, "estimate": -0.2483, "ci_low": -0.25636,
    "ci_high": -0.24035, "target": 0.4, "target_met": "not_measured", "exploratory": False,
}  # fmt: skip


def test_an_index_of_markers_is_not_held_against_a_target_for_raters() -> None:
    index = {**VERDICT, "metric": "brand_voice", "evidence": "marker", "target": 0.85}
    for target, shown in ((0.85, "rated"), (None, "-")):
        row = outcome.verdict_row({**index, "target": target})
        assert (row["target"], row["verdict"]) == (shown, "-")
    row = outcome.verdict_row({**index, "evidence": "human"})
    assert (row["target"], row["verdict"]) == ("0.85", "not measured")


def test_what_the_plan_does_not_hold_is_marked_and_explained_below_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passed = {**VERDICT, "target_met": "pass"}
    outcome.show_verdicts([passed])
    assert "exploratory" not in capsys.readouterr().out
    outcome.show_verdicts([{**passed, "exploratory": True}])
    out = capsys.readouterr().out
    assert "pass*" in out
    assert "* exploratory: not in the plan that was hashed before the training" in out


@pytest.mark.parametrize("exploratory", [False, True])
@pytest.mark.parametrize("width", [80, 140])
def test_the_verdicts_fit_the_terminal_and_no_word_is_broken(
    width: int,
    exploratory: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    console = Console(width=width, highlight=False)
    monkeypatch.setattr(terminal, "OUT", console)
    found = {
        "job_id": "261122-abcdef", "status": "completed", "error": None,
        "interrupted": "Interrupted 1x, resumed successfully; 14 min and $0.58 lost",
        "verdicts": [
            {**VERDICT, "exploratory": exploratory},
            {**VERDICT, "evidence": "measurement", "n": 24},
        ],
        "cost_usd": 1.5,
        "steps": 20, "report_html": "/x" * 60, "report_pdf": "p", "package": "z", "run_folder": "f",
        "flow_run_id": "a-run",
    }  # fmt: skip
    outcome.show(found)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "/x/x" not in line]
    assert max(map(len, lines)) <= width
    assert "/x" * 60 in out  # a path stays whole, for copying
    assert "Interrupted 1x, resumed successfully" in out
    assert "http://127.0.0.1:4200/runs/flow-run/a-run (after `make ui`)" in out
    assert out.count("not measured") == 2
    assert ("effect" in out) == (width == 140)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (-5, "0 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")]
)
def test_spans_of_time_in_words(seconds: float, text: str) -> None:
    assert terminal.span(seconds) == text


def test_markup_in_a_persons_words_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("[red]client[/red] [bold]")
    assert "[red]client[/red] [bold]" in capsys.readouterr().err
