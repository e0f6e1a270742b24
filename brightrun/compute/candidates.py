"""Which offer to take first, and why: a pure function of offers, requirements and bad luck."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from brightrun.compute.provider import STOCK_ORDER, Offer, Refused
from brightrun.errors import BrightRunError, CapacityError, ConfigurationError
from brightrun.frozen import Frozen
from brightrun.jobs import Market
from brightrun.situation import Place

# So often the only candidate must say the same: its words may mean that no machine is free. With
# the pauses between them (recovery) these are 45 minutes.
ALONE = 8


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


class Candidate(Frozen):
    offer: Offer
    reason: str


class Choice(Frozen):
    """Candidates, best first; left_out says why each of the others is none."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...]


def choose(offers: Iterable[Offer], wish: Wish, avoid: Iterable[Place]) -> Choice:
    """Order: what is known of the place, price, stock, name of the place (so that it is stable).

    avoid: where pods failed a short while ago. A place that lost one comes before one where a pod
    never spoke: the next one may not come up there either.
    """
    blamed = {place.name: place for place in sorted(avoid, key=badness)}
    fit, left_out = [], []
    for offer in offers:
        why_not = unfit(offer, wish)
        if why_not:
            left_out.append(f"{offer.place}: {why_not}")
        else:
            fit.append(offer)
    fit.sort(
        key=lambda o: (
            rank((o.data_center, o.gpu), blamed),
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


def badness(place: Place) -> tuple[bool, str]:
    """The worst and newest that is known of a place comes last."""
    return place.mute, place.at.isoformat() if place.at else ""


def rank(name: tuple[str, str], blamed: Mapping[tuple[str, str], Place]) -> int:
    """0: nothing bad is known, 1: a pod was lost there, 2: one never spoke there."""
    place = blamed.get(name)
    return 0 if place is None else 1 + place.mute


def _reason(
    offer: Offer,
    rank: int,
    of: int,
    wish: Wish,
    blamed: Mapping[tuple[str, str], Place],
) -> str:
    parts = [f"{rank}. of {of}: ${offer.usd_per_hour * wish.gpu_count}/h, stock {offer.stock}"]
    if wish.data_centers:
        parts.append("where the volume is")
    if place := blamed.get((offer.data_center, offer.gpu)):
        what = "did not come up" if place.mute else "was lost"
        when = f" at {place.at:%H:%M} UTC" if place.at else ""
        parts.append(f"a pod {what} there{when}, so it is a last resort")
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


def all_refused(refusals: Sequence[Refused], before: int = 0) -> BrightRunError:
    """Every candidate said no: no capacity, or, when all say the same, a request that is wrong.

    before: tries in a row before this one that heard nothing but the last one's words.
    """
    last, who = refusals[-1], f"all {len(refusals)} candidates refused"
    alike = len(refusals) > 1 and len({r.said for r in refusals}) == 1
    if len(refusals) == 1 and before + 1 >= ALONE:
        alike, who = True, f"the only candidate refused {before + 1} times"
    if alike and all(r.broken for r in refusals):
        return ConfigurationError(
            f"{who} in the same words: {last.message}",
            cause=last.cause
            or "the request breaks a rule of the provider; capacity would differ by place",
            fix=last.fix or "mend what it says; nothing was rented",
        )
    return CapacityError(
        f"{len(refusals)} candidates refused, the last one: {last.message}",
        cause=last.cause or "no machine is free there",
        fix=last.fix or "nothing: it is tried again; or allow more kinds of GPU or data centres",
    )
