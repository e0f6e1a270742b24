"""A quote: what this file with these values would cost, on every market, before a cent is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from brightrun import basemodels, comparing, costs, ownmemory, prices, speed
from brightrun.comparing import Recommendation, recommend
from brightrun.conversations import CHARACTERS_PER_TOKEN, FileReport
from brightrun.counting import count
from brightrun.durations import Observed, Part, Work, guess
from brightrun.jobs import Hyperparameters, Market
from brightrun.markets import Rate
from brightrun.physics import (
    GIGA,
    LLAMA_3_70B,
    SMOLLM2,
    Machine,
    ModelProfile,
    Range,
    machine_of,
)
from brightrun.settings import Settings

OPTION_TOKENS, NEUTRAL_TOKENS = 60, 1900  # of our questions and passages, all of them
# Models that can be estimated without being here.
KNOWN: dict[str, ModelProfile] = {"demo": SMOLLM2, LLAMA_3_70B.name: LLAMA_3_70B}
SYSTEM_TO_PROMPT = 1.6  # a scenario's prompt over its system prompt, in characters


@dataclass(frozen=True, slots=True)
class Quote:
    """The chosen market's estimate, and all markets side by side."""

    estimate: costs.Estimate
    markets: tuple[comparing.MarketRow, ...]
    market_note: str
    notes: tuple[str, ...] = ()
    guesses: dict[Part, Range] = field(default_factory=dict)  # by physics alone

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Likely seconds of the pod's stages; saving happens while training."""
        parts = {name: part.likely for name, part in self.estimate.parts.items()}
        return {
            "preprocessing": parts["preprocessing"],
            "model_loading": parts["boot"] + parts["model_loading"],
            "training": parts["training"] + parts["saving"],
            "measuring": parts["measuring"],
            "finalization": parts["finalization"],
        }

    def recommendation(self, now: datetime, needed_by: datetime | None) -> Recommendation:
        """Which market to take when the job starts now. Pure."""
        outlooks = [row.outlook for row in self.markets]
        return recommend([o for o in outlooks if o is not None], now, needed_by)

    def as_json(self) -> dict[str, Any]:
        """The issue's estimate object, with the markets."""
        notes = [*self.estimate.as_json()["warnings"], *self.notes]
        if self.market_note and self.market_note not in " ".join(notes):
            notes.append(self.market_note)
        return {
            **self.estimate.as_json(),
            "warnings": notes,
            "guess_s": {name: round(part.likely, 3) for name, part in self.guesses.items()},
            "markets": [row.as_json() for row in self.markets],
        }


def work_of(report: FileReport, values: Hyperparameters, interruptions: int = 0) -> Work:
    """The work in a file; the held-out share is taken off in proportion."""
    usable = [row for row in report.rows if row.supervised_pairs > 0]
    held_out = max(1, round(len(usable) * values.validation_share))
    share = 1 - held_out / max(1, len(usable))
    lengths = [size for row in usable for size in row.sequences]
    pairs = sum(row.supervised_pairs for row in usable)
    more = round((len(lengths) - len(usable)) * share)  # parts of conversations that are split
    sequences = max(1, len(usable) - held_out + more)
    repeats = 1.0
    if values.sequence == "pair":
        repeats, sequences = 2.2, max(1, round(pairs * share))  # 2.1-2.4 on real files
    per_step = max(1, round(values.pairs_per_step * sequences / max(1.0, pairs * share)))
    # Read twice for the data feedback; of 12 and up to 8 held out the gradients, three times.
    probed = 0 if values.quick else 2 * min(40, sequences) + 3 * 20
    prompt = round(len(report.system_prompt) / CHARACTERS_PER_TOKEN * SYSTEM_TO_PROMPT) + 40
    return Work(
        train_tokens=round(sum(lengths) * share * repeats),
        sum_squared_tokens=round(sum(n * n for n in lengths) * share),
        supervised_tokens=round(report.supervised_tokens * share),
        sequences=sequences,
        longest=max(lengths, default=1),
        epochs=values.epochs,
        steps=values.epochs * -(-sequences // per_step),
        validation_tokens=round(sum(lengths) * (1 - share)),
        evaluations=values.eval_points,
        scenarios=values.scenarios,
        passes=values.passes,
        questions=values.questions,
        rotations=values.rotations,
        prompt_tokens=prompt,
        option_tokens=0 if values.quick else OPTION_TOKENS,
        neutral_tokens=NEUTRAL_TOKENS // 3 if values.quick else NEUTRAL_TOKENS,
        probe_tokens=round(probed * sum(lengths) / max(1, len(usable))),
        max_new_tokens=values.max_new_tokens,
        interruptions=interruptions,
    )


def only_measuring(work: Work, left: Mapping[str, int], models: int) -> Work:
    """The work of an assessment: no training, and of the measurements what is not there yet.

    left: items to measure of each kind, over all models.
    """

    def share(kind: str, each: int) -> int:
        return -(-left[kind] // max(1, models * each))

    whole = work.rotations * work.questions
    asked = max(share("knowledge", work.rotations), share("option_text", 1)) if whole else 0
    return replace(
        work,
        train_tokens=0, sum_squared_tokens=0, supervised_tokens=0, sequences=0, steps=0,
        evaluations=0, models=models, probe_tokens=0,
        validation_tokens=work.validation_tokens if left["likelihood"] else 0,
        neutral_tokens=work.neutral_tokens if left["neutral"] else 0,
        harness_tokens=work.harness_tokens if left.get("harness") else 0,
        questions=asked,
        scenarios=share("answers", work.passes),
    )  # fmt: skip


def notes_of(report: FileReport) -> tuple[str, ...]:
    """What the work in a file has that a person may not expect."""
    split = [row for row in report.rows if len(row.parts) > 1]
    if not split:
        return ()
    parts, added = sum(len(row.parts) for row in split), sum(row.added_tokens for row in split)
    return (
        f"longer than max_length: {len(split)} of {count(report.conversations, 'conversation')}, "
        f"split into {parts} parts; {added:,} tokens an epoch are their system prompts, again",
    )


def unpackable(values: Hyperparameters, provider: str) -> str:
    """Why packing that is asked for may be refused by a rented pod; "": nothing is known."""
    if not values.packing or provider == "local":
        return ""
    return (
        "packing=true: pods pack only with flash-attn, which the trainer's image has only where it "
        "was put in (docs/image.md); without it each pod ends after its start, which is billed. "
        "Leave packing out, and a pod packs where it can"
    )


def machine_for(provider: str, gpu: str, settings: Settings) -> Machine:
    """The machine that would be rented; this one with all of its memory."""
    name = prices.gpu_name(gpu, provider)
    return machine_of(name, settings.threads, ownmemory.total_bytes() / GIGA)


def model_for(base_model: str, provider: str, settings: Settings) -> ModelProfile:
    """Of the prepared model, or of one that is known without being here.

    ConfigurationError: nothing is known about it; names the command that prepares it.
    """
    name = basemodels.chosen(base_model, provider, settings)
    known = KNOWN.get(name.partition("@")[0])
    if known is not None and not basemodels.is_prepared(name, settings.models):
        return known
    folder = basemodels.prepared_folder(name, settings.models)
    return ModelProfile.of_prepared(basemodels.profile(folder))


def unprepared(base_model: str, provider: str, settings: Settings) -> tuple[str, ...]:
    """What a job of a base model that is priced without being here would end with."""
    name = basemodels.chosen(base_model, provider, settings)
    if name in basemodels.ALIASES or basemodels.is_prepared(name, settings.models):
        return ()
    folder = settings.models / basemodels.key_of(name)
    without = (
        ""
        if provider == "local"
        else (
            f"; to train elsewhere only, its files but for *.safetensors in {folder} are enough, "
            "copied from a machine that has prepared it"
        )
    )
    return (
        f"a job needs {name} on this machine first: `python -m trainer prepare {name}`{without}",
    )


def quote(
    work: Work,
    values: Hyperparameters,
    model: ModelProfile,
    *,
    provider: str,
    gpu: str,
    market: str,
    settings: Settings,
    observed: Sequence[Observed] = (),
    budget_left: Decimal | None = None,
    users_hours: str = "",
    notes: tuple[str, ...] = (),
    live: prices.Live = prices.NOT_ASKED,
    rates: Mapping[Market, Rate] | None = None,
) -> Quote:
    """Price every market on offer and estimate the chosen one."""
    machine = machine_for(provider, gpu, settings)
    if not machine.is_gpu and not any(past.part == "training" for past in observed):
        given = settings.cpu_speed
        now = speed.Sample(given) if given else speed.measured(machine.threads)
        bf16 = not given and speed.native_bf16()
        machine = replace(machine, speed=now.speed, free=now.free, bf16=bf16)
    offered = prices.offers(provider, gpu, settings, live=live)
    price, note = prices.choose(offered, market)
    estimate = costs.estimate(
        work,
        machine,
        model,
        values,
        price,
        observed,
        budget_left=budget_left,
        users_hours=users_hours,
        warn_above_usd=settings.warn_above_usd,
        rates=rates,
    )
    rows = comparing.compare_markets(work, machine, model, values, offered, observed, rates)
    guesses = guess(work, machine, model, values)
    if said := unpackable(values, provider):
        notes = (*notes, said)
    return Quote(estimate, tuple(rows), note, notes, guesses)
