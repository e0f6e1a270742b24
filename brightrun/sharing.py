"""What may be handed out, to whom, for how long: pure rules of sharing.

Nothing is delivered without its proof: package and adapter need an issued validation report and no
headline that failed, was not measured or is exploratory (not in the plan that was hashed before
training), unless a person overrides that by name and with a reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from brightrun.errors import UsageError
from brightrun.verdicts import Verdict


class Shared(StrEnum):
    report = "report"
    slides = "slides"
    package = "package"
    adapter = "adapter"


class Outcome(StrEnum):
    won = "won"
    lost = "lost"
    open = "open"


PROVEN = frozenset({Shared.package, Shared.adapter})
USUAL = {
    Shared.report: timedelta(days=30),
    Shared.slides: timedelta(days=30),
    Shared.package: timedelta(hours=24),
    Shared.adapter: timedelta(hours=24),
}
LONGEST = timedelta(days=365)
_SPAN = re.compile(r"(\d{1,5})\s*([hd])")


def expiry(text: str, what: Shared) -> timedelta:
    """`30d`, `24h`; empty: what is usual for it. UsageError: no such span, or over a year."""
    if not text:
        return USUAL[what]
    hit = _SPAN.fullmatch(text.strip().lower())
    if hit is None or int(hit[1]) == 0:
        raise UsageError(f"{text!r} is no span of time", fix="write it as 30d or 24h")
    span = timedelta(days=int(hit[1])) if hit[2] == "d" else timedelta(hours=int(hit[1]))
    if span > LONGEST:
        raise UsageError(f"{text} is longer than a year", fix="share it again when it has run out")
    return span


def closed(shares: Iterable[tuple[str, str]]) -> list[str]:
    """`report: 2 won, 1 lost of 5`: which kinds led to deals. shares: (what, outcome) of each."""
    counts = Counter(shares)
    kinds = [kind.value for kind in Shared if any(what == kind for what, _ in counts)]
    return [
        f"{kind}: {counts[kind, Outcome.won]} won, {counts[kind, Outcome.lost]} lost of "
        f"{sum(n for (what, _), n in counts.items() if what == kind)}"
        for kind in kinds
    ]


def missing(
    what: Shared, *, reported: bool, verdicts: Iterable[Verdict], checked: bool = True
) -> list[str]:
    """Why something may not be shared as it stands; empty: it may.

    checked: the zip's own script gave every golden answer (`brightrun package JOB --check`).
    """
    if what not in PROVEN:
        return []
    found = [] if reported else ["the validation report is missing"]
    targets = [v for v in verdicts if v.target is not None]
    if not targets:
        found.append("no headline was evaluated")
    found += [
        f"{v.metric.value.replace('_', ' ')}: {v.standing.replace('_', ' ')}"
        for v in targets
        if v.standing in ("fail", "not_measured", "exploratory")
    ]
    if what is Shared.package and not checked:
        found.append(
            "its golden answers were not made again from the zip: `brightrun package JOB --check`"
        )
    return found
