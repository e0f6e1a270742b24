"""What a job would cost, and what ends it before anything is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import furnish, inside, run
from training_files import document, write_json

from brightrun import ownmachine
from brightrun.prices import H100_PCIE, H100_SXM


def test_a_job_is_refused_by_its_exact_count_before_anything_is_started(
    home: Path, tmp_path: Path, models: Path
) -> None:
    """The model is there, but nobody has prepared it for this home: a first job would do it."""
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    words = ("--base-model", str(models / "tiny"), "--set", "max_length=128")
    done = inside(home, "train", file, "--yes", *words, "--json")
    assert done.code == 1
    assert {defect["code"] for defect in done.json["errors"]} == {"too_long"}
    assert [place.name for place in home.iterdir()] == ["models"]


def test_a_job_without_its_base_model_is_refused_before_anything_is_started(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    done = inside(home, "train", file, "--yes", "--base-model", "demo", "--json")
    assert done.code == 1
    assert "make setup" in done.json["error"]["fix"]
    assert [place.name for place in home.iterdir()] == ["models"]


def test_a_base_model_that_nobody_has_is_told_before_anything_is_started(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    done = inside(home, "estimate", file, "--base-model", "no such model", "--json")
    assert done.code == 1
    assert "no such model" in done.json["error"]["message"]


def test_an_estimate_says_what_it_costs_and_where_the_price_is_from(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    done = run("estimate", file, "--preset", "demo", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert set(found) >= {
        "tokens_per_epoch", "supervised_tokens", "steps", "hours", "cost_usd", "turnaround_h",
        "vram_gb", "fits", "price", "warnings",
    }  # fmt: skip
    assert found["hours"]["low"] <= found["hours"]["likely"] <= found["hours"]["high"]
    assert set(found["price"]) == {"usd_per_hour", "source", "as_of"}
    more = json.loads(
        run("estimate", file, "--preset", "demo", "--set", "epochs=9", "--json").stdout
    )
    assert more["cost_usd"]["likely"] > found["cost_usd"]["likely"]
    assert not home.exists()


def test_an_estimate_shows_the_month_and_what_the_gate_would_say(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    month = json.loads(run("estimate", file, "--preset", "demo", "--json").stdout)["budget"]
    assert (month["limit"], month["spent"], month["left"]) == (500.0, 0.0, 500.0)
    assert month["gate"]["action"] == "confirm"
    monkeypatch.setenv("BRIGHTRUN_MONTH_BUDGET_USD", "0.000001")
    over = json.loads(run("estimate", file, "--preset", "demo", "--json").stdout)["budget"]
    assert (over["gate"]["action"], over["gate"]["over_budget"]) == ("approve", True)
    done = inside(home, "estimate", file, "--preset", "demo")
    assert "of $500.00 left" in done.out
    assert "Gate: asks for a confirmation" in done.out
    assert not home.exists()


def test_an_estimate_knows_the_limits_that_were_set_for_everybody(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    assert inside(home, "budget", "limits", "--approve", "0", "--by", "Ann").code == 0
    found = inside(home, "estimate", file, "--preset", "demo", "--json").json["budget"]["gate"]
    assert found["action"] == "approve"
    assert "above $0.00 an approval is needed" in found["reasons"][0]


def test_runpod_is_estimated_for_its_own_model_without_having_it(
    home: Path, tmp_path: Path, models: Path
) -> None:
    """The prepared local model must not count the tokens of a model that is not here."""
    furnish(home, models)
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    late = ("--needed-by", "2019-05-01")
    found = json.loads(run("estimate", file, "--provider", "runpod", *late, "--json").stdout)
    assert found["tokens_exact"] is False
    assert (found["recommendation"]["market"], found["recommendation"]["in_time"]) == (
        "on_demand", False,
    )  # fmt: skip
    assert "too late for 2019-05-01" in found["recommendation"]["why"]
    assert found["interruptions_per_hour"]["likely"] == 0.005
    assert found["vram_gb"] > 40
    assert "prepare meta-llama/Meta-Llama-3-70B-Instruct" in " ".join(found["warnings"])
    local = json.loads(run("estimate", file, "--base-model", "tiny", "--json").stdout)
    assert local["tokens_exact"] is True
    assert "trainer prepare" not in " ".join(local["warnings"])
    assert found["tokens_per_epoch"] != local["tokens_per_epoch"]


def test_detach_without_a_server_fails_before_an_id_is_told(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "train", str(path), "--detach", "--yes")
    assert done.code == 1
    assert "no Prefect server is running" in done.err
    assert "Job " not in done.err
    assert "Preparing" not in done.err


def test_no_id_is_told_of_a_job_that_cannot_be(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "train", str(path), "--base-model", "nosuch/model", "--yes")
    assert done.code == 1
    assert "Preparing the base model" in done.err
    assert "Job " not in done.err


def test_more_scenarios_than_there_are_is_said_in_the_estimate(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    words = ("estimate", str(path), "--set", "scenarios=60", "--set", "questions=100", "--json")
    warnings = inside(home, *words).json["warnings"]
    assert [w for w in warnings if "was asked for" in w] == [
        "scenarios=60 was asked for, there are 50: all 50 are used"
    ]


def test_an_unknown_base_model_is_not_priced(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "estimate", str(path), "--base-model", "nosuch/model")
    assert done.code == 1
    assert "python -m trainer prepare nosuch/model" in done.err


def test_a_gpu_that_is_not_in_this_machine_is_runpods_and_says_so(
    home: Path, tmp_path: Path
) -> None:
    path = str(write_json(tmp_path / "a.json", document(8, 4)))
    gpu = next(g for g in (H100_PCIE, H100_SXM) if g not in ownmachine.gpus_here())
    found = inside(home, "estimate", path, "--gpu", gpu, "--json").json
    assert found["price"]["usd_per_hour"] > 2
    assert "notional" not in found["price"]["source"]
    assert f"there is no {gpu} in this machine: this is RunPod's" in " ".join(found["warnings"])
    rented = inside(home, "estimate", path, "--gpu", gpu, "--provider", "runpod", "--json").json
    assert rented["cost_usd"] == found["cost_usd"]
    for words in (("estimate", path, "--provider", "local"), ("train", path, "--yes")):
        refused = inside(home, *words, "--gpu", gpu, "--json")
        assert refused.code == 2
        assert f"there is no {gpu} in this machine" in refused.json["error"]["message"]
        assert "--provider runpod" in refused.json["error"]["fix"]
        assert "Job " not in refused.err
    assert not home.exists()
