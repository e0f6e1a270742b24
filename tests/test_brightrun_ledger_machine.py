"""The ledger's money, whatever is rented and ended in whatever order, against plain arithmetic."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brightrun.errors import StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import AttemptRow, Ledger
from brightrun.settings import Settings

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
US_PER_HOUR = 3600 * 10**6
_numbers = count()


@cache
def ledger() -> Ledger:
    """One for all examples, each with jobs of its own: making a database takes longest."""
    folder = tempfile.TemporaryDirectory(prefix="brightrun-ledger-")
    opened = Ledger.open(Settings(home=Path(folder.name), DATABASE_URL=None))
    vars(opened)["folder"] = folder  # lives as long as the ledger
    return opened


class Books(RuleBasedStateMachine):
    """Pods of one job are rented and ended while the clock only grows."""

    def __init__(self) -> None:
        super().__init__()
        self.books, self.job = ledger(), f"job-{next(_numbers)}"
        self.books.create_job(self.job, JobRequest(training_file="sample"))
        self.now, self.last = NOON, Decimal(0)
        self.exact: dict[int, tuple[Decimal, datetime, datetime | None, Decimal | None]] = {}

    @property
    def open(self) -> list[int]:
        return [number for number, facts in self.exact.items() if facts[2] is None]

    def row(self, number: int) -> AttemptRow:
        return next(row for row in self.books.attempts(self.job) if row.number == number)

    @rule(price=st.decimals(0, 20, places=6))
    def rent(self, price: Decimal) -> None:
        number = self.books.next_attempt_number(self.job)
        assert number == len(self.exact) + 1
        self.write(number, price)
        self.exact[number] = (price, self.now, None, None)

    def write(self, number: int, price: Decimal) -> None:
        self.books.add_attempt(
            self.job,
            number,
            provider="runpod",
            market="spot",
            pod_name=f"br-{self.job}-{number}",
            usd_per_hour=price,
            launched_at=self.now,
        )

    @precondition(lambda self: self.exact)
    @rule()
    def rent_the_same_number_again(self) -> None:
        with pytest.raises(StorageError, match="cannot be written"):
            self.write(len(self.exact), Decimal(1))

    @rule(seconds=st.integers(0, 10**6))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), bill=st.none() | st.decimals(0, 500, places=6))
    def end(self, data: st.DataObject, bill: Decimal | None) -> None:
        """A bill of the provider is at least what was told so far, so that cost stays monotone."""
        number = data.draw(st.sampled_from(self.open))
        price, launched, _, _ = self.exact[number]
        us = (self.now - launched) // timedelta(microseconds=1)
        if bill is not None:
            told = Fraction(price) * us / US_PER_HOUR
            bill += Decimal(round(told * 10**6)) / 10**6
        self.books.end_attempt(self.job, number, self.now, "lost:preempted", cost_usd=bill)
        self.exact[number] = (price, launched, self.now, bill)

    @precondition(lambda self: len(self.open) < len(self.exact))
    @rule(data=st.data())
    def end_again(self, data: st.DataObject) -> None:
        ended = [number for number in self.exact if number not in self.open]
        number = data.draw(st.sampled_from(ended))
        before = self.row(number)
        after = self.now + timedelta(days=9)
        self.books.end_attempt(self.job, number, after, "done", cost_usd=Decimal(99))
        assert self.row(number) == before

    @invariant()
    def the_cost_is_never_negative_never_shrinks_and_is_the_sum_of_its_attempts(self) -> None:
        cost = self.books.cost_so_far(self.job, self.now)
        assert cost >= self.last
        self.last = cost
        exact = Fraction(0)
        for price, launched, ended, bill in self.exact.values():
            us = ((ended or self.now) - launched) // timedelta(microseconds=1)
            exact += Fraction(price) * us / US_PER_HOUR if bill is None else Fraction(bill)
        assert abs(Fraction(cost) - exact) <= Fraction(max(1, len(self.exact)), 2 * 10**6)
        later = self.books.cost_so_far(self.job, self.now + timedelta(hours=1))
        rates = sum((self.exact[number][0] for number in self.open), Decimal(0))
        assert abs(later - cost - rates) <= Decimal(len(self.exact)) / 10**6

    @invariant()
    def what_bills_is_what_has_no_end(self) -> None:
        billing = [row.number for row in self.books.open_attempts() if row.job_id == self.job]
        assert sorted(billing) == sorted(self.open)

    def teardown(self) -> None:
        for number in self.open:  # the other examples look at all that bills
            self.books.end_attempt(self.job, number, self.now, "done")


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=5, stateful_step_count=12, deadline=None)


@pytest.mark.slow
class TestBooksLonger(Books.TestCase):
    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
