"""What past jobs say: `brightrun presets`, and how good estimates have been."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brightrun.counting import count
from flows.options import Json

JUDGED = ", by rented jobs on the clock and those on this machine in CPU seconds"


def presets(json: Json = False) -> None:
    """The presets side by side: values, expected result, risk; planned, and what ours took."""
    from brightrun.history import Wanted
    from brightrun.jobs import PRESETS
    from brightrun.presetcards import experience
    from brightrun.settings import load
    from flows.quoting import ledger_if_any
    from flows.terminal import emit, facts

    ledger = ledger_if_any(load())
    rows = ledger.history(Wanted(), datetime.now(UTC)) if ledger else ()
    known = {str(name): experience(str(name), rows) for name in PRESETS}
    if json:
        emit({name: {**info.model_dump(), "ours": known[name]} for name, info in PRESETS.items()})
        return
    for name, info in PRESETS.items():
        v = info.values
        facts(
            name,
            [
                ("for", info.summary),
                ("expect", info.expected),
                ("risk", info.risk),
                ("LoRA", f"r {v.lora_r}, alpha {v.lora_alpha}, dropout {v.lora_dropout}"),
                ("rate", f"{v.learning_rate}, {count(v.epochs, 'epoch')}"),
                ("planned", " on a spot H100, ".join(filter(None, (info.users_hours,
                                                                 info.users_spot_cost)))),
                *ours(known[name], bool(info.users_hours)),
            ],
        )  # fmt: skip


def ours(known: dict[str, Any], planned: bool) -> list[tuple[str, str]]:
    """A preset's jobs so far in words."""
    if not known["ended"]:
        return [("ours", "no job has ended yet")]
    rate = "-" if known["success_rate"] is None else f"{known['success_rate']:.0%}"
    lines = [("success", f"{rate} of {count(known['ended'], 'job')}")]
    if known["median_hours"] is not None:
        took = f"{known['median_hours']:.2g} h, ${known['median_usd']:,.2f}"
        lines.append(("ours", f"{took}, median of {known['completed']} ({known['where']})"))
    if planned and known["why"]:
        lines.append(("differs", known["why"]))
    if known["error_codes"]:
        said = ", ".join(f"{code} {n}" for code, n in known["error_codes"].items())
        lines.append(("errors", said))
    return lines


def tell_backtest(as_json: bool) -> None:
    """Each finished job estimated from the ones before it: errors, and how many lay inside."""
    from brightrun.backtest import MEDIAN_TARGET, P90_TARGET, backtest
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit, table, tell

    found = backtest(Ledger.open(load()).observed_jobs())
    if as_json:
        emit(found.model_dump())
        return

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = [
        (name, errors.n, share(errors.median), share(errors.p90))
        for name, errors in (
            ("with history", found.with_history),
            ("the same jobs, by physics", found.physics_of_the_same),
            ("all jobs, by physics", found.physics),
            ("rented, with history", found.rented),
            ("on this machine, in CPU seconds", found.in_cpu_seconds),
        )
    ]
    table("Error of the estimated pod time", ("", "jobs", "median", "90 %"), rows)
    inside = f"{share(found.inside)} of {count(found.with_history.n, 'job')}"
    tell(f"Between low and high: {inside} (80 % are meant to be)")
    if found.settled.n:
        of = count(found.settled.n, "job")
        tell(f"With bounds from whole jobs before: {share(found.settled.share)} of {of}")
    tell(f"Wanted: median {MEDIAN_TARGET:.0%}, 90 % {P90_TARGET:.0%}; waiting excluded")
    tell({None: "Not judged", True: "Met", False: "MISSED"}[found.met] + JUDGED)
    if found.in_cpu_seconds.n:
        tell("CPU seconds: of the pod's processes, without boot; all else by the clock, as money")
