"""`brightrun evaluate`: an adapter is measured again and judged; one from elsewhere is marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import brightrun, furnish, inside, run_folder, shared_server, small_file
from fakes.judge import FakeJudge, fair, serving
from measured_jobs import JOB, measured_job

from brightrun.ledger import Ledger
from brightrun.settings import load
from evals.plan import SCENARIOS

WISH = ("--preset", "balanced", "--base-model", "tiny", "--smoke", "--yes", "--json")


def test_a_judge_that_cannot_be_asked_is_refused_before_anything_is_measured(
    home: Path, tmp_path: Path
) -> None:
    measured_job(scenarios=6)
    prompts = tmp_path / "ours.txt"
    prompts.write_text("May I retire?\n")
    for judge, said in (("nobody", "names no judge"), ("openai:gpt-x", "--price")):
        done = inside(home, "evaluate", JOB, "--prompts", str(prompts), "--judge", judge)
        assert (done.code, said in done.err) == (2, True), done.err
    assert [job.job_id for job in Ledger.open(load()).jobs(None)] == [JOB]


@pytest.mark.heavy
@pytest.mark.slow
def test_new_answers_are_judged_and_an_adapter_from_elsewhere_proves_nothing(
    models: Path, tmp_path: Path
) -> None:
    home, file = furnish(tmp_path / "home", models), str(small_file(tmp_path))
    prompts = tmp_path / "ours.txt"
    prompts.write_text("May I retire?\nShould I rent?\n")
    with shared_server(home), serving(FakeJudge(fair, key="")) as judge:
        trained = brightrun(home, "train", file, *WISH)
        assert trained.code == 0, trained.err
        first = trained.json["job_id"]
        asked = len(run_folder(home, first).read_jsonl(SCENARIOS))
        judged = brightrun(
            home, "evaluate", first, "--prompts", str(prompts), "--yes", "--json",
            "--judge", f"openai:a-1@{judge.url}/v1",
        )  # fmt: skip
        assert judged.code == 0, judged.err
        second = judged.json["job_id"]
        assert second != first
        assert len(run_folder(home, second).read_jsonl(SCENARIOS)) == asked + 2
        ei = next(v for v in judged.json["verdicts"] if v["metric"] == "emotional_intelligence")
        assert (ei["evidence"], ei["exploratory"]) == ("llm_judge_uncalibrated", True)
        assert ei["n_clusters"] == asked + 2
        assert "exploratory" in Path(judged.json["report_html"]).read_text(encoding="utf-8")

        stranger = tmp_path / "stranger"
        run_folder(home, first).download_folder("adapter", stranger)
        altered(stranger)
        done = brightrun(
            home, "evaluate", str(stranger), "--like", first, "--yes", "--json"
        )  # fmt: skip
        assert done.code == 0, done.err
        assert all(v["exploratory"] for v in done.json["verdicts"])
        page = Path(done.json["report_html"]).read_text(encoding="utf-8")
        assert "An adapter from elsewhere was measured" in page
        assert "read the training conversations" not in page


def altered(folder: Path) -> None:
    """The same adapter with other weights, as if somebody else had trained it."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name: 2 * values for name, values in weights.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": ""})
    )
    for other in folder.iterdir():
        if other.name not in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.rmtree(other) if other.is_dir() else other.unlink()
