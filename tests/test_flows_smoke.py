"""`train --smoke` from end to end, here and at a fake RunPod: two steps, one dollar, a package."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from commands import brightrun, furnish, ledger, run_folder, shared_server, small_file, steps
from runpod_flow import books, trainers

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

WISH = ("--preset", "balanced", "--base-model", "tiny", "--smoke", "--json")


@pytest.mark.parametrize("provider", ["local", "runpod"])
def test_the_whole_path_in_two_steps(provider: str, models: Path, tmp_path: Path) -> None:
    home, file = furnish(tmp_path / "home", models), str(small_file(tmp_path))
    with shared_server(home), trainers(home) as (fake, account):
        where = ("--provider", provider)
        done = brightrun(home, "train", file, *WISH, *where, "--yes", **account)
        assert done.code == 0, done.err
        job_id = done.json["job_id"]
        row, folder = ledger(home).job(job_id), run_folder(home, job_id)
        assert done.json["status"] == "completed"
        assert steps(folder, 1) == [1, 2]
        assert len(folder.read_jsonl("data/train.jsonl")) == 2
        assert len(folder.read_jsonl("data/validation.jsonl")) == 1
        assert row.hard_limit_usd is not None
        assert row.hard_limit_usd <= Decimal(1)
        assert ledger(home).adapters() == ()  # nobody is to put it into production
        assert folder.read_json("gate.json")["hard_limit_usd"] <= 1.0
        assert Path(done.json["package"]).exists()
        page = Path(done.json["report_html"]).read_text(encoding="utf-8")
        assert "This was a smoke test" in page
        if provider == "runpod":
            assert all(abs(mine - billed) < Decimal("0.001") for mine, billed in
                       books(home, job_id, fake))  # fmt: skip
            assert fake.account.pods == {} or all(
                pod.process is None or pod.process.poll() is not None
                for pod in fake.account.pods.values()
            )


def test_it_is_offered_before_the_first_job_on_an_account(models: Path, tmp_path: Path) -> None:
    home, file = furnish(tmp_path / "home", models), str(small_file(tmp_path))
    with shared_server(home), trainers(home) as (_, account):
        wish = (*WISH[:4], "--provider", "runpod", "--json")
        done = brightrun(home, "train", file, *wish, **account)
        assert done.code == 3
        assert "no job has completed on runpod yet: `brightrun train --smoke`" in done.err
