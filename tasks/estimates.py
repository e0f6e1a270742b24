"""Price a file under every preset, provider and market."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import basemodels, quotes
from brightrun.conversations import FileReport
from brightrun.jobs import PRESETS
from brightrun.ledger import Ledger
from brightrun.settings import load
from brightrun.tokens import ChatTokenizer
from expectations.validation import validate_file
from reports import jobcards
from tasks import artifacts
from tasks.intake import dataset_error

PROVIDERS = ("local", "runpod")


@task(name="check file", cache_policy=NO_CACHE)
def check(training_file: str, base_model: str) -> FileReport:
    """The file's report; a broken one ends the run with all its defects."""
    settings = load()
    known = Ledger.open(settings).file(training_file)
    name = base_model or "demo"
    tokenizer = None
    if basemodels.is_prepared(name, settings.models):
        tokenizer = ChatTokenizer.load(basemodels.prepared_folder(name, settings.models))
    path = Path(known.path if known is not None else training_file).expanduser()
    report = validate_file(path, tokenizer=tokenizer, max_json_gb=settings.max_json_gb)
    if not report.valid:
        raise dataset_error(report)
    return report


@task(name="price presets", cache_policy=NO_CACHE)
def price_all(report: FileReport, base_model: str) -> list[dict[str, Any]]:
    """One row per preset, provider and market; what is not offered says so."""
    settings, rows = load(), []
    for provider in PROVIDERS:
        model = quotes.model_for(base_model, provider, settings)
        for preset, info in PRESETS.items():
            found = quotes.quote(
                quotes.work_of(report, info.values),
                info.values,
                model,
                provider=provider,
                gpu="",
                market="spot",
                settings=settings,
                users_hours=info.users_hours,
            )
            rows += [
                {"provider": provider, "preset": str(preset), "model": model.name, **row.as_json()}
                for row in found.markets
            ]
    return rows


@task(name="show estimate", cache_policy=NO_CACHE)
def show(training_file: str, rows: list[dict[str, Any]]) -> None:
    artifacts.publish(
        "estimate-all", jobcards.markets_card(training_file, rows), "All presets and markets"
    )
