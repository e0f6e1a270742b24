"""The command that prices a job: estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.checking import examined, show_report
from flows.cli_learned import tell_backtest
from flows.options import (
    BaseModel,
    Gpu,
    Json,
    MarketOption,
    NeededBy,
    PresetOption,
    Provider,
    QualityMin,
    Sets,
)


def estimate(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="Training file; not with --backtest.")] = "",
    preset: PresetOption = "balanced",
    provider: Provider = "local",
    gpu: Gpu = "",
    market: MarketOption = "spot",
    needed_by: NeededBy = None,
    base_model: BaseModel = "",
    set_: Sets = None,
    quality_min: QualityMin = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="How good estimates of past jobs have been.")
    ] = False,
    json: Json = False,
) -> None:
    """Tokens, memory, hours and cost of a run, low / likely / high, before a cent is spent.

    A `--gpu` that this machine lacks is estimated on RunPod unless `--provider` is given.
    """
    from dataclasses import replace

    from brightrun import budget
    from brightrun.settings import load
    from evals.plan import beyond
    from flows import quoting
    from flows.options import overrides_of
    from flows.terminal import emit

    if bool(file) == backtest:
        raise typer.BadParameter("give a training file, or --backtest, not both")
    if backtest:
        tell_backtest(json)
        return
    source = context.get_parameter_source("provider")
    given = source is not None and source.name == "COMMANDLINE"
    provider, elsewhere = quoting.provider_for(gpu, provider, given)
    values = quoting.values_of(preset, overrides_of(set_))
    report, close = examined(
        Path(file),
        quality_min=quality_min,
        base_model=base_model,
        provider=provider,
        max_length=values.max_length,
        too_long=values.too_long,
    )
    if not report.valid:
        show_report(report, json, close)
        raise typer.Exit(1)
    ledger = quoting.ledger_if_any(load())
    state = quoting.month(ledger)
    found = quoting.quote(report, values, preset, provider, gpu, market, base_model, ledger, state)
    found = replace(found, notes=(*elsewhere, *found.notes, *beyond(values)))
    limits = quoting.limits(ledger, preset, provider)
    month = budget.foreseen(found.estimate, limits, state)
    advice = quoting.advice(found, needed_by)
    if json:
        emit(
            {
                **found.as_json(),
                "recommendation": advice,
                "tokens_exact": report.tokens_exact,
                "budget": month,
            }
        )
        return
    quoting.show(found, report, advice)
    quoting.show_budget(month)
