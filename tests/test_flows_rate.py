"""`brightrun rate`: sheets out, in, judged; each import is the report's next version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import inside
from fakes.judge import FakeJudge, fair, serving
from filelock import FileLock
from measured_jobs import JOB, measured_job
from rating_sheets import as_file, sheet_rows

from brightrun import baselines
from brightrun.context import open_job
from brightrun.errors import EvaluationError
from brightrun.ledger import Ledger
from brightrun.runfolder import RunFolder
from brightrun.settings import load
from evals import judge_prompts, ratings
from evals.assess import assess
from flows import judging
from tasks import gate


def filled(home: Path, place: Path, rater: int) -> Path:
    drawn = ratings.load(measured_folder())
    assert drawn
    file = place / f"back-{rater}.csv"
    file.write_bytes(as_file(sheet_rows(drawn.of(rater))))
    return file


def measured_folder() -> RunFolder:
    return open_job(JOB).folder


def test_sheets_go_out_come_back_and_make_the_next_report(home: Path, tmp_path: Path) -> None:
    job = measured_job()
    job.folder.write_json(baselines.MACHINE, {"hardware": {"device": "cpu"}})
    out = inside(home, "rate", "export", JOB, "--raters", "3", "--json")
    assert out.code == 0, out.err
    made = json.loads(out.out)
    folder = Path(made["folder"])
    assert sorted(p.name for p in folder.iterdir()) == sorted([*made["sheets"], "how-to-rate.txt"])
    assert not any("key" in p.name for p in folder.iterdir())
    assert made["key_sha256"] in inside(home, "rate", "status", JOB, "--json").out

    files = [str(filled(home, tmp_path, rater)) for rater in (1, 2)]
    taken = inside(home, "rate", "import", JOB, *files, "--json")
    assert taken.code == 0, taken.err
    first = json.loads(taken.out)
    ei = next(v for v in first["verdicts"] if v["metric"] == "emotional_intelligence")
    assert (ei["evidence"], ei["n"], ei["n_clusters"], ei["improved"]) == ("human", 24, 12, True)
    assert ei["exploratory"] is False
    page = Path(first["report"]).read_text()
    assert "rated by people" in page
    assert "Above the floor?" in page
    # The next job with this base model is told before it costs anything.
    assert any("emotional intelligence" in line for line in gate.attainable_gain(job))

    again = json.loads(inside(home, "rate", "import", JOB, files[0], "--json").out)
    assert again["taken"] == []
    later = inside(home, "rate", "import", JOB, str(filled(home, tmp_path, 3)), "--json")
    second = json.loads(later.out)
    assert second["version"] == first["version"] + 1
    assert Path(first["report"]).read_text() == page
    assert Ledger.open(load()).job(JOB).report_html == second["report"]
    status = json.loads(inside(home, "rate", "status", JOB, "--json").out)
    assert [r["complete"] for r in status["raters"]] == [14, 14, 14]


def test_models_and_people_are_asked_about_the_same_voices(home: Path) -> None:
    job = measured_job(scenarios=40)
    drawn = ratings.draw(job.folder, job.spec.values.seed, 1)
    asked = {task.scenario_id for task in judging.tasks_of(job) if task.voice}
    assert asked == {item.scenario_id for item in drawn.items if item.voice}
    assert len(asked) == 30


def test_a_job_is_judged_by_one_command_at_a_time(home: Path) -> None:
    job = measured_job(scenarios=6)
    place = home / "judges"
    place.mkdir()
    with (
        FileLock(place / f"{JOB}.lock"),
        pytest.raises(EvaluationError, match="is being judged already"),
    ):
        judging.judge_all(job, ["openai:m@http://127.0.0.1:9/v1"], judging.Terms())


def test_a_judge_who_read_another_rubric_is_named_and_not_counted(home: Path) -> None:
    job = measured_job(scenarios=6)
    header = {"judge": "openai:old", "prompts": judge_prompts.VERSION, "rubric_sha256": "gone"}
    job.folder.write_jsonl("evals/judges/openai-old.jsonl", [])
    job.folder.write_json("evals/judges/openai-old.json", header)
    ei = next(v for v in assess(job.folder, job.spec).verdicts if "emotional" in v.metric)
    assert (ei.n, ei.target_met) == (0, "not_measured")
    assert "Left out: openai:old, asked by another rubric" in ei.note


def test_a_bad_sheet_is_told_with_all_its_places_and_nothing_is_taken(
    home: Path, tmp_path: Path
) -> None:
    measured_job()
    inside(home, "rate", "export", JOB)
    file = filled(home, tmp_path, 1)
    file.write_bytes(file.read_bytes().replace(b",5,", b",7,"))
    done = inside(home, "rate", "import", JOB, str(file), "--json")
    problems = json.loads(done.out)["problems"]
    assert done.code == 1
    assert len(problems) > 3
    assert all(p["row"] and p["column"] and p["fix"] for p in problems)
    assert "back-1.csv, row " in done.err
    assert not measured_folder().exists(ratings.TAKEN)


@pytest.mark.slow
def test_language_models_judge_and_are_called_uncalibrated_and_exploratory(home: Path) -> None:
    measured_job(scenarios=6)
    with serving(FakeJudge(fair)) as fake:
        refused = inside(home, "rate", "judge", JOB, f"--judge=openai:a-1@{fake.url}/v1")
        assert (refused.code, "BRIGHTRUN_" in refused.err) == (1, True)
    with serving(FakeJudge(fair, key="")) as fake:
        judges = [f"--judge=openai:a-1@{fake.url}/v1", f"--judge=anthropic:b-1@{fake.url}"]
        done = inside(home, "rate", "judge", JOB, *judges, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [j["family"] for j in found["judges"]] == ["a", "b"]
    ei = next(v for v in found["verdicts"] if v["metric"] == "emotional_intelligence")
    assert (ei["evidence"], ei["n_clusters"]) == ("llm_judge_uncalibrated", 6)
    assert ei["exploratory"] is True
    assert "the plan names no llm judge" in ei["note"]


def test_a_vendors_judge_needs_its_price_and_key_before_anything_is_sent(home: Path) -> None:
    measured_job(scenarios=6)
    for words in ([], ["--price=nan,1"], ["--price=1,inf"], ["--price=3,15", "--max-usd=nan"],
                  ["--price=3,15", "--max-usd=inf"],
                  ["--price=3,15", "--judge=anthropic:c-x"]):  # fmt: skip
        dear = inside(home, "rate", "judge", JOB, "--judge=openai:gpt-x", *words)
        assert (dear.code, "--price" in dear.err or "--max-usd" in dear.err) == (2, True), dear.err
    locked = inside(home, "rate", "judge", JOB, "--judge=anthropic:c-x", "--price=3,15")
    assert (locked.code, "BRIGHTRUN_ANTHROPIC_API_KEY" in locked.err) == (1, True)
