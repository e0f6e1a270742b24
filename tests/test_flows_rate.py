"""`brightrun rate`: sheets out, in, judged; each import is the report's next version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import inside
from fakes.judge import FakeJudge, fair, serving
from measured_jobs import JOB, measured_job
from rating_sheets import as_file, sheet_rows

from brightrun.context import open_job
from brightrun.ledger import Ledger
from brightrun.runfolder import RunFolder
from brightrun.settings import load
from evals import ratings


def filled(home: Path, place: Path, rater: int) -> Path:
    drawn = ratings.load(measured_folder())
    assert drawn
    file = place / f"back-{rater}.csv"
    file.write_bytes(as_file(sheet_rows(drawn.of(rater))))
    return file


def measured_folder() -> RunFolder:
    return open_job(JOB).folder


def test_sheets_go_out_come_back_and_make_the_next_report(home: Path, tmp_path: Path) -> None:
    measured_job()
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

    again = json.loads(inside(home, "rate", "import", JOB, files[0], "--json").out)
    assert again["taken"] == []
    later = inside(home, "rate", "import", JOB, str(filled(home, tmp_path, 3)), "--json")
    second = json.loads(later.out)
    assert second["version"] == first["version"] + 1
    assert Path(first["report"]).read_text() == page
    assert Ledger.open(load()).job(JOB).report_html == second["report"]
    status = json.loads(inside(home, "rate", "status", JOB, "--json").out)
    assert [r["complete"] for r in status["raters"]] == [14, 14, 14]


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
    dear = inside(home, "rate", "judge", JOB, "--judge=openai:gpt-x")
    assert (dear.code, "--price" in dear.err) == (2, True)
    locked = inside(home, "rate", "judge", JOB, "--judge=anthropic:c-x", "--price=3,15")
    assert (locked.code, "BRIGHTRUN_ANTHROPIC_API_KEY" in locked.err) == (1, True)
