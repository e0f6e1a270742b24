"""The report says everything in which a quick run is less than a delivery run."""

from __future__ import annotations

from pathlib import Path

import report_jobs

from brightrun.assessments import Wish, request_of
from brightrun.context import JobContext
from brightrun.jobs import Preset, preset_of
from reports import collect
from reports.collect import cuts

DEMO, FULL = preset_of(Preset.demo).values, preset_of(Preset.balanced).values
LESS = [
    name for name, value in DEMO if isinstance(value, int | float) and value < getattr(FULL, name)
]


def told(**values: object) -> list[str]:
    """What is said of a delivery run with these values, beyond what its small model is told."""
    spec = report_jobs.spec()
    full = spec.model_copy(update={"values": FULL})
    changed = spec.model_copy(update={"values": FULL.model_copy(update=values)})
    return [said for said in cuts(changed) if said not in cuts(full)]


def test_each_field_in_which_the_demo_is_less_is_named_with_what_a_delivery_takes() -> None:
    assert "passes" in LESS
    assert told() == []
    for name in LESS:
        said = told(**{name: getattr(DEMO, name)})
        assert said, f"nothing is said of {name}"
        assert f"{getattr(FULL, name):,}" in said[0], said


def test_the_demo_is_told_all_of_it_and_its_small_model() -> None:
    found = cuts(report_jobs.spec().model_copy(update={"values": DEMO}))
    # Its answers are short: a quick look with long ones makes fewer to check the package by.
    short = {"max_new_tokens": DEMO.max_new_tokens}
    wanted = {said for name in LESS for said in told(**{name: getattr(DEMO, name), **short})}
    assert wanted < set(found)
    assert "Made 1 answer to check the package by; a delivery run makes 3." in told(rotations=1)
    assert not [said for said in found if "to check the package by" in said]
    assert found[-1] == "Trained demo, a small stand-in for Llama 3 70B."


def test_an_assessment_is_run_again_by_evaluate_and_tells_no_place_of_this_machine(
    home: Path,
) -> None:
    job = report_jobs.evaluated_job("261120-7f3a")
    assert collect.reproduce(job).startswith("brightrun train ")
    wish = Wish(
        prompts_file="/home/ann/ours.txt", lm_eval_tasks="arc_easy, /x/t.yaml", passes=2,
        beside=("control=/y/c", "old=261101-aaaa"),
    )  # fmt: skip
    asked = request_of(job.request, job.job_id, wish)
    assert collect.assessed_again(asked) == (
        "brightrun evaluate 261120-7f3a --prompts ours.txt --lm-eval arc_easy,t.yaml "
        "--beside control=c --beside old=261101-aaaa --passes 2"
    )
    other = request_of(job.request, job.job_id, Wish(adapter="/home/ann/stranger"))
    assert collect.assessed_again(other) == "brightrun evaluate stranger --like 261120-7f3a"
    job.ledger.create_job("261122-eeee", other, at=report_jobs.START)
    again = JobContext(job.settings, job.ledger, "261122-eeee")
    assert collect.reproduce(again) == collect.assessed_again(other)
