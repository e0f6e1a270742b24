"""Which offer to take first, and why: a pure function of offers, requirements and bad luck."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from brightrun.compute.provider import STOCK_ORDER, Offer, Refused
from brightrun.errors import BrightRunError, CapacityError, ConfigurationError
from brightrun.frozen import Frozen
from brightrun.jobs import Market

# A place that failed to bring up a pod is the last choice for so long: hosts get mended.
BLAMED_FOR = timedelta(hours=6)


class Wish(Frozen):
    """What the job needs. devices: our names, () = any; data_centers: where its volume is.

    memory_gb is of each GPU, max_usd_per_hour of the whole pod.
    """

    market: Market
    gpu_count: int = 1
    devices: tuple[str, ...] = ()
    memory_gb: float = 0.0
    clouds: tuple[str, ...] = ()
    data_centers: tuple[str, ...] = ()
    max_usd_per_hour: Decimal | None = None


class Failure(Frozen):
    """A pod that never came up there."""

    data_center: str
    gpu: str
    at: datetime


class Candidate(Frozen):
    offer: Offer
    reason: str


class Choice(Frozen):
    """Candidates, best first; left_out says why each of the others is none."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...]


def choose(
    offers: Iterable[Offer], wish: Wish, failures: Iterable[Failure], now: datetime
) -> Choice:
    """Order: not recently failed there, price, stock, name of the place (so that it is stable)."""
    recent = [f for f in failures if now - f.at < BLAMED_FOR]
    blamed = {(f.data_center, f.gpu): max(g.at for g in recent if _same(f, g)) for f in recent}
    fit, left_out = [], []
    for offer in offers:
        why_not = unfit(offer, wish)
        if why_not:
            left_out.append(f"{offer.place}: {why_not}")
        else:
            fit.append(offer)
    fit.sort(
        key=lambda o: (
            (o.data_center, o.gpu) in blamed,
            o.usd_per_hour,
            STOCK_ORDER[o.stock],
            o.data_center,
            o.gpu,
            o.cloud,
        )
    )
    found = tuple(
        Candidate(offer=offer, reason=_reason(offer, n, len(fit), wish, blamed))
        for n, offer in enumerate(fit, 1)
    )
    return Choice(candidates=found, left_out=tuple(sorted(set(left_out))))


def unfit(offer: Offer, wish: Wish) -> str:
    """Why an offer cannot be taken, "" when it can."""
    price = offer.usd_per_hour * wish.gpu_count
    reasons = (
        (offer.market != wish.market, f"another market than {wish.market}"),
        (bool(wish.devices) and offer.device not in wish.devices, "another GPU than wished"),
        (
            offer.memory_gb is not None and offer.memory_gb < wish.memory_gb,
            f"{offer.memory_gb or 0:.0f} GB of memory, {wish.memory_gb:.0f} GB are needed",
        ),
        (offer.max_count < wish.gpu_count, f"at most {offer.max_count} GPUs in one pod"),
        (bool(wish.clouds) and offer.cloud not in wish.clouds, f"cloud {offer.cloud}"),
        (offer.stock == "none", "no stock"),
        (
            bool(wish.data_centers) and offer.data_center not in wish.data_centers,
            f"the volume lies in {', '.join(wish.data_centers)}",
        ),
        (
            wish.max_usd_per_hour is not None and price > wish.max_usd_per_hour,
            f"${price}/h, at most ${wish.max_usd_per_hour}/h was agreed to",
        ),
    )
    return next((why for is_so, why in reasons if is_so), "")


def _same(one: Failure, other: Failure) -> bool:
    return (one.data_center, one.gpu) == (other.data_center, other.gpu)


def _reason(
    offer: Offer,
    rank: int,
    of: int,
    wish: Wish,
    blamed: dict[tuple[str, str], datetime],
) -> str:
    parts = [f"{rank}. of {of}: ${offer.usd_per_hour * wish.gpu_count}/h, stock {offer.stock}"]
    if wish.data_centers:
        parts.append("where the volume is")
    if at := blamed.get((offer.data_center, offer.gpu)):
        parts.append(f"a pod did not come up there at {at:%H:%M} UTC, so it is a last resort")
    return ", ".join(parts)


def none_fits(choice: Choice | None) -> CapacityError | None:
    """The error when no offer can be taken; None when one can, or when there is no market."""
    if choice is None or choice.candidates:
        return None
    shown = "; ".join(choice.left_out[:6]) or "the provider offers nothing"
    more = f"; and {len(choice.left_out) - 6} more" if len(choice.left_out) > 6 else ""
    return CapacityError(
        f"no offer fits: {shown}{more}",
        cause="the wished machines are taken, elsewhere, or dearer than agreed to",
        fix="wait, or allow more with --gpu or BRIGHTRUN_RUNPOD_CLOUDS and _DATA_CENTERS",
    )


def all_refused(refusals: Sequence[Refused]) -> BrightRunError:
    """Every candidate said no: no capacity, or, when all say the same, a request that is wrong."""
    last = refusals[-1]
    alike = len(refusals) > 1 and len({r.said for r in refusals}) == 1
    if alike and all(r.broken for r in refusals):
        return ConfigurationError(
            f"all {len(refusals)} candidates refused in the same words: {last.message}",
            cause="the request breaks a rule of the provider; capacity would differ by place",
            fix="mend what it says; nothing was rented",
        )
    return CapacityError(
        f"{len(refusals)} candidates refused, the last one: {last.message}",
        cause=last.cause or "no machine is free there",
        fix=last.fix or "nothing: it is tried again; or allow more kinds of GPU or data centres",
    )
