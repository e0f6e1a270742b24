"""Price a file under every preset, provider and market."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import basemodels, budget, pricing, quotes
from brightrun.budget import BudgetState, Limits
from brightrun.comparing import MarketRow
from brightrun.conversations import FileReport
from brightrun.jobs import PRESETS, Hyperparameters
from brightrun.ledger import Ledger
from brightrun.liveprices import live_prices
from brightrun.settings import Settings, load
from brightrun.tokens import ChatTokenizer
from evals import contamination, own
from expectations.validation import validate_file
from reports import jobcards
from tasks import artifacts
from tasks.freezing import dataset_error

PROVIDERS = ("local", "runpod")


@task(name="check file", cache_policy=NO_CACHE)
def check(training_file: str, base_model: str) -> dict[str, FileReport]:
    """Provider -> the file's report, counted for the base model that would be trained there.

    A known model that is not here is counted approximately, an unknown one ends the run, and so
    does a broken file, with all its defects, and one that holds what we test with.
    """
    settings = load()
    for provider in PROVIDERS:
        quotes.model_for(base_model, provider, settings)
    known = Ledger.open(settings).file(training_file)
    path = Path(known.path if known is not None else training_file).expanduser()
    names = {p: basemodels.chosen(base_model, p, settings) for p in PROVIDERS}
    reports = {name: report_for(path, name, settings) for name in set(names.values())}
    for report in reports.values():
        if not report.valid:
            raise dataset_error(report)
    ours = own.everything()
    contamination.of_file(path, ours.scenarios, ours.questions).refuse()
    return {provider: reports[name] for provider, name in names.items()}


def report_for(path: Path, base_model: str, settings: Settings) -> FileReport:
    """The file as one base model sees it."""
    tokenizer = None
    if basemodels.is_prepared(base_model, settings.models):
        tokenizer = ChatTokenizer.load(basemodels.prepared_folder(base_model, settings.models))
    limit = basemodels.context_of(base_model, settings.models)
    longest = Hyperparameters().max_length
    return validate_file(
        path,
        tokenizer=tokenizer,
        max_length=min(longest, limit or longest),
        context=limit,
        max_json_gb=settings.max_json_gb,
    )


@task(name="price presets", cache_policy=NO_CACHE)
def price_all(reports: dict[str, FileReport], base_model: str) -> list[dict[str, Any]]:
    """One row per preset, provider and market; what is not offered says so."""
    settings, rows = load(), []
    ledger = Ledger.open(settings)
    state = ledger.budget_state(datetime.now(UTC))
    for provider, report in reports.items():
        model = quotes.model_for(base_model, provider, settings)
        live = live_prices(provider, settings)
        for preset, info in PRESETS.items():
            found = pricing.priced(
                quotes.work_of(report, info.values),
                info.values,
                model,
                preset=preset,
                provider=provider,
                gpu="",
                market="spot",
                settings=settings,
                ledger=ledger,
                budget_left=state.left,
                live=live,
            )
            counted = "" if report.tokens_exact else " (tokens approximate)"
            about = {
                "provider": provider, "preset": str(preset), "model": f"{model.name}{counted}",
            }  # fmt: skip
            limits = ledger.limits_for("", str(preset), provider)
            rows += [
                {**about, **row.as_json(), "gate": word(row, limits, state)}
                for row in found.markets
            ]
    return rows


def word(row: MarketRow, limits: Limits, state: BudgetState) -> str:
    """What the gate would do with such a job; "" where there is no offer."""
    if row.estimate is None:
        return ""
    return str(budget.foreseen(row.estimate, limits, state)["gate"]["action"])


@task(name="read budget", cache_policy=NO_CACHE)
def month() -> dict[str, Any]:
    """{month, limit, spent, committed, left} in dollars, now."""
    return Ledger.open(load()).budget_state(datetime.now(UTC)).as_json()


@task(name="show estimate", cache_policy=NO_CACHE)
def show(training_file: str, rows: list[dict[str, Any]], month: dict[str, Any]) -> None:
    card = jobcards.markets_card(training_file, rows, month)
    artifacts.publish("estimate-all", card, "All presets and markets")
