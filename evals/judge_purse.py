"""What judging may cost: every request is written down before it is sent, unknown counts as spent.

The journal is of one job: a later run goes on with what earlier ones have spent. It is read once:
one process at a time may hold it (`flows.judging` sees to that).
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from brightrun.errors import BudgetError

MILLION = Decimal(1_000_000)
# A token holds 3 characters or more in all texts of ours: more tokens than this are never sent.
CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens in and out."""

    usd_in: Decimal
    usd_out: Decimal

    def of(self, tokens_in: int, tokens_out: int) -> Decimal:
        return (self.usd_in * tokens_in + self.usd_out * tokens_out) / MILLION


class Purse:
    """Reserve, then settle. Safe for several threads. BudgetError before the cap is passed."""

    def __init__(self, price: Price, cap_usd: Decimal, journal: Path) -> None:
        self.price, self.cap, self.journal = price, cap_usd, journal
        self.lock = threading.Lock()
        self.held: dict[str, Decimal] = {}
        self.spent = Decimal(0)
        self._number = 0
        self._read()

    def _read(self) -> None:
        if not self.journal.exists():
            return
        for line in self.journal.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            self._number = max(self._number, int(row["id"]))
            if "reserved" in row:
                self.held[str(row["id"])] = Decimal(row["reserved"])
            else:
                self.held.pop(str(row["id"]), None)
                self.spent += Decimal(row["spent"])

    @property
    def total(self) -> Decimal:
        """Spent, and all that was reserved and may be billed."""
        return self.spent + sum(self.held.values(), Decimal(0))

    def reserve(self, characters: int, most_tokens: int) -> str:
        """Write the dearest that a request can be; returns the id to settle."""
        most = self.price.of(characters // CHARACTERS_PER_TOKEN + 1, most_tokens)
        with self.lock:
            if self.total + most > self.cap:
                raise BudgetError(
                    f"judging has cost up to ${self.total:.4f}; the next request, up to "
                    f"${most:.4f}, would pass the cap of ${self.cap:.2f}",
                    cause="--max-usd, over all judging of this job",
                    fix="raise --max-usd; what was judged is kept and not paid for again",
                )
            self._number += 1
            name = str(self._number)
            self._write({"id": self._number, "reserved": str(most)})
            self.held[name] = most
            return name

    def release(self, name: str) -> None:
        """The server refused it: nothing was made, nothing is billed."""
        self._book(name, Decimal(0))

    def settle(self, name: str, tokens_in: int, tokens_out: int) -> None:
        """The reply's own count; without one the reserved sum stays."""
        if tokens_in or tokens_out:
            self._book(name, self.price.of(tokens_in, tokens_out))

    def _book(self, name: str, cost: Decimal) -> None:
        with self.lock:
            self._write({"id": int(name), "spent": str(cost)})
            self.held.pop(name, None)
            self.spent += cost

    def _write(self, row: dict[str, object]) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
