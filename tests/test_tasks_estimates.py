"""All providers in one table: each with the tokens of its own model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from commands import furnish
from genuine_templates import byte_tokenizer
from training_files import document, write_json

from brightrun import baselines, basemodels, quotes
from brightrun.context import JobContext
from brightrun.durations import Observed, units
from brightrun.errors import ConfigurationError
from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobRequest, JobSpec
from brightrun.ledger import Ledger
from brightrun.owntemplate import OwnTemplate
from brightrun.settings import load
from brightrun.tokens import ChatTokenizer
from flows import quoting
from tasks import estimates, freezing, intake, learn


def test_each_provider_is_priced_for_its_default_model(
    home: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(home, models)
    monkeypatch.setenv("BRIGHTRUN_LOCAL_BASE_MODEL", "tiny")
    file = write_json(tmp_path / "a.json", document(8, 4))
    reports = estimates.check.fn(str(file), "")
    assert {p: r.tokens_exact for p, r in reports.items()} == {"local": True, "runpod": False}
    rows = estimates.price_all.fn(reports, "")
    named = {row["provider"]: row["model"] for row in rows}
    assert named["local"].startswith("tiny")
    assert named["runpod"] == "meta-llama/Meta-Llama-3-70B-Instruct (tokens approximate)"
    assert {r["gate"] for r in rows if r["offered"]} <= {"confirm", "approve"}
    assert {r["gate"] for r in rows if not r["offered"]} == {""}
    assert estimates.month.fn()["left"] == 500.0


def test_the_base_model_that_is_not_named_is_the_providers(home: Path) -> None:
    settings = load()
    llama = "meta-llama/Meta-Llama-3-70B-Instruct"
    assert basemodels.chosen("", "local", settings) == "demo"
    assert basemodels.chosen("", "runpod", settings) == llama
    assert basemodels.chosen("tiny", "runpod", settings) == "tiny"
    assert basemodels.context_of(llama, settings.models) == 8192
    assert basemodels.context_of("org/unknown", settings.models) is None


def test_a_run_on_runpod_without_a_key_is_refused_with_what_can_be_done(home: Path) -> None:
    settings = load()
    Ledger.open(settings).create_job("j1", JobRequest(training_file="f", provider="runpod"))
    with pytest.raises(ConfigurationError, match="no key for RunPod") as caught:
        intake.prepare.fn("j1")
    assert "make a key in RunPod's console" in caught.value.fix


def test_after_a_finished_job_the_table_and_the_terminal_show_the_same_number(
    home: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(home, models)
    monkeypatch.setenv("BRIGHTRUN_LOCAL_BASE_MODEL", "tiny")
    report = estimates.check.fn(str(write_json(tmp_path / "a.json", document(8, 4))), "")["local"]
    settings, values = load(), quoting.values_of("balanced", {})
    ledger = Ledger.open(settings)

    def shown() -> tuple[float, float]:
        rows = estimates.price_all.fn({"local": report}, "")
        state = quoting.month(ledger)
        found = quoting.quote(report, values, "balanced", "local", "", "spot", "", ledger, state)
        table = next(r for r in rows if r["preset"] == "balanced" and r["offered"])
        return table["cost_usd"]["likely"], found.as_json()["cost_usd"]["likely"]

    before = shown()
    machine = quotes.machine_for("local", "", settings).key
    took = Observed(machine, "tiny", "nf4", "training", 1000.0, 500.0)
    ledger.create_job("j1", JobRequest(training_file="f"))
    ledger.add_observations("j1", [took])
    after = shown()
    assert before[0] == before[1]
    assert after[0] == after[1]
    assert after[0] > 2 * before[0]


def test_an_estimate_warns_that_rented_pods_may_refuse_to_pack(
    home: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(home, models)
    monkeypatch.setenv("BRIGHTRUN_LOCAL_BASE_MODEL", "tiny")
    report = estimates.check.fn(str(write_json(tmp_path / "a.json", document(8, 4))), "")["local"]

    def warned(provider: str, **values: bool) -> bool:
        wish, state = quoting.values_of("balanced", values), quoting.month(None)
        found = quoting.quote(report, wish, "balanced", provider, "", "spot", "", None, state)
        return any("flash-attn" in said for said in found.as_json()["warnings"])

    assert warned("runpod", packing=True)
    assert not warned("runpod")
    assert not warned("runpod", packing=False)
    assert not warned("local", packing=True)


def test_a_job_teaches_what_it_ran_and_not_what_its_form_said(
    home: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own file has three scenarios; the baseline is an earlier job's."""
    furnish(home, models)
    report = estimates.check.fn(str(write_json(tmp_path / "a.json", document(8, 4))), "tiny")
    settings, values = load(), Hyperparameters(scenarios=3)
    job = JobContext(settings, Ledger.open(settings), "j1")
    data = DataRef(
        name="file", source_sha256="a", train_sha256="b", validation_sha256="c",
        train_conversations=7, validation_conversations=1, supervised_pairs=16,
        train_tokens=1000, supervised_tokens=400,
    )  # fmt: skip
    base = BaseModelRef(name="tiny", context=8192, template="chatml")
    spec = JobSpec(base_model=base, data=data, values=values, plan_sha256="p", threads=2)
    job.ledger.create_job("j1", JobRequest(training_file="f", base_model="tiny"))
    job.folder.write_json("spec.json", {"spec": spec.model_dump(mode="json")})
    job.folder.write_json("validation.json", report["local"].model_dump(mode="json"))
    counts = {"train_sequences": 7, "sum_squared_tokens": 10**6, "validation_tokens": 200}
    job.folder.write_json("data/manifest.json", {**data.model_dump(), **counts})
    for name in ("preprocessing", "measuring"):
        job.note("stage", {"name": name, "status": "started"})
        job.note("stage", {"name": name, "status": "finished", "elapsed_s": 60.0})
    machine, model = (
        quotes.machine_for("local", "", settings),
        quotes.model_for("tiny", "local", settings),
    )

    shown: list[str] = []
    monkeypatch.setattr(intake.artifacts, "publish", lambda key, *_: shown.append(key))
    intake.validate.fn("j1")
    assert shown == ["dataset"]  # another flow run's page shows the file too

    def learned() -> dict[str, float]:
        learn.learn.fn("j1")
        return {o.part: o.tokens for o in job.ledger.observed(machine.key, model.name)}

    work = replace(quotes.work_of(report["local"], values), validation_tokens=200)
    whole = units(work, machine, model, values)["measuring"]
    reused = {"machine": {"hardware": {"device": "cpu"}}, "kinds": {"answers": {"job": "j0"}}}
    job.folder.write_json(baselines.CACHED, reused)
    half = replace(work, known=frozenset({"answers"}))
    assert learned()["measuring"] == units(half, machine, model, values)["measuring"] < whole
    job.folder.write_json(baselines.CACHED, {**reused, "machine": {"hardware": {"device": "H100"}}})
    assert learned()["measuring"] == whole
    job.folder.remove(baselines.CACHED)
    assert learned()["measuring"] == whole


def test_a_model_that_nobody_knows_is_not_priced_as_another(home: Path, tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", document(4, 4))
    for provider, name in (("local", "nosuch/model"), ("runpod", "meta-llama/Llama-3.1-405B")):
        with pytest.raises(ConfigurationError, match=name) as caught:
            quotes.model_for(name, provider, load())
        assert f"python -m trainer prepare {name}" in caught.value.fix
        with pytest.raises(ConfigurationError, match=name):
            estimates.check.fn(str(file), name)
    assert quotes.model_for("", "local", load()).parameters < 2e8
    assert quotes.model_for("", "runpod", load()).parameters > 6e10


def test_a_base_model_that_nothing_proves_is_said_before_anything_is_paid_for(home: Path) -> None:
    job = JobContext(load(), Ledger.open(load()), "j1")
    job.ledger.create_job("j1", JobRequest(training_file="f"))
    tokenizer = ChatTokenizer(byte_tokenizer("chatml"), "chatml")
    freezing.warn_unproven(job, tokenizer, lambda *_: None)
    (said,) = job.ledger.events("j1", type="warning")
    assert (said.payload["code"], said.payload["fault"]) == ("template_unproven",) * 2
    assert "nothing was compared" in said.payload["message"]
    tokenizer.own = OwnTemplate.of("{{ 1 }}")
    freezing.warn_unproven(job, tokenizer, lambda *_: None)
    assert len(job.ledger.events("j1", type="warning")) == 1
