"""What goes wrong at the fake, and when: scripted for one test, or drawn from a seed.

Kinds, by the moment at which they strike:
    create  create_500 create_dropped create_timeout create_html (all four: the pod exists),
            refused_500 (no pod), capacity, balance, forbidden, rate_limit
    read    read_500 read_html rate_limit
    delete  delete_404 (it stays alive) delete_ignored delete_500
    pod     provisioning_forever error exits
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

CREATE = (
    "create_500", "create_dropped", "create_timeout", "create_html", "refused_500", "capacity",
    "balance", "forbidden", "rate_limit",
)  # fmt: skip
READ = ("read_500", "read_html", "rate_limit")
DELETE = ("delete_404", "delete_ignored", "delete_500")
POD = ("provisioning_forever", "error", "exits")
MOMENTS = {"create": CREATE, "read": READ, "delete": DELETE, "pod": POD}


@dataclass
class Mischief:
    """`script`: moment -> kinds in order, one for each such request ("" = none this time).

    `rates`: kind -> probability, drawn with `seed` once the script is used up; a `limit` of faults
    per kind makes sure that everything ends. `done` counts what struck.
    """

    script: dict[str, list[str]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    limit: int = 3
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        unknown = {k for kinds in self.script.values() for k in kinds} | set(self.rates)
        unknown -= {"", *CREATE, *READ, *DELETE, *POD}
        if unknown or set(self.script) - set(MOMENTS):
            raise ValueError(f"unknown mischief: {unknown or set(self.script)}")

    def strike(self, moment: str) -> str:
        """The fault of this request, "" = none."""
        if self.script.get(moment):
            kind = self.script[moment].pop(0)
        else:
            kind = next((k for k in MOMENTS[moment] if self._draws(k)), "")
        if kind:
            self.done[kind] += 1
        return kind

    def _draws(self, kind: str) -> bool:
        rate = self.rates.get(kind, 0.0)
        return rate > 0 and self.random.random() < rate and self.done[kind] < self.limit
