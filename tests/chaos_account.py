"""The fake RunPod of one run, with its happenings in virtual time and its killer of drivers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import faulty_storage
from chaos_pod import VirtualMachines
from chaos_schedule import DriverKill, Event, Schedule
from chaos_world import World
from fakes.runpod import Contract, FakeRunPod, Mischief
from fakes.runpod.account import Problem
from fakes.runpod.bill import MICRO, Bill
from fakes.runpod.market import Market, usual

from brightrun.runfolder import RunFolder

CREDIT_USD = 100
# How long the answer to a create is held back, in real seconds: longer than the driver waits.
HOLD_S = 1.3


class ChaosRunPod(FakeRunPod):
    """Kills the driver around one of its requests, when the schedule says so."""

    driver: int | None = None
    killed = False
    orders: DriverKill | None = None
    away = False

    def answer(self, method: str, target: str, key: str, raw: bytes) -> tuple[int, str, Any]:
        orders = self.orders
        strikes = False
        if orders is not None and orders.request == method and "graphql" not in target:
            strikes = self.asked[method] + 1 == orders.number
            self.asked[method] += 1
        if strikes and orders is not None and not orders.answered:
            self.kill()
            raise ConnectionAbortedError
        if self.away and "/v2/" in target:
            self.account.tick()
            outage = Problem(503, "Service Unavailable", "maintenance")
            return 503, "application/problem+json", outage.body
        try:
            return super().answer(method, target, key, raw)
        finally:
            if strikes:
                self.kill()

    @property
    def asked(self) -> Counter[str]:
        return self.__dict__.setdefault("_asked", Counter())

    def kill(self) -> None:
        """SIGKILL to the driver, as the out-of-memory killer does."""
        self.orders = None
        if self.driver is not None:
            self.killed = True
            with suppress(ProcessLookupError):
                os.kill(self.driver, signal.SIGKILL)


class Happenings:
    """Carries out the events of a schedule; `done` counts them."""

    def __init__(self, world: World, schedule: Schedule, storage: Path, job_id: str) -> None:
        self.world, self.storage, self.job_id = world, storage, job_id
        self.done: Counter[str] = Counter()
        self.fake = ChaosRunPod(
            lambda env: ((), env),
            world,
            contract=Contract.load(),
            market=Market(
                usual(), schedule.volatility, schedule.seed, spot_offered=schedule.spot_offered
            ),
            bill=Bill(credit_micro=CREDIT_USD * MICRO),
            mischief=Mischief(rates=schedule.rates, seed=schedule.seed, limit=schedule.most),
            hold_s=HOLD_S,
        )
        self.fake._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        account = self.fake.account
        account.machines = VirtualMachines(world, schedule.pace, account.machines.console)
        account.lag_s, account.skew_s = schedule.lag_s, schedule.skew_s
        world.after = self.tick
        for event in schedule.events:
            world.at(event.at, lambda event=event: self.happen(event))

    def tick(self) -> None:
        with self.fake.lock:
            self.fake.account.tick()

    def happen(self, event: Event) -> None:
        with self.fake.lock:
            if getattr(self, event.kind)(event.value) is not False:
                self.done[event.kind] += 1

    def interrupt(self, _: float) -> bool:
        """The host is taken away."""
        alive = self.fake.account.alive()
        for name in alive:
            self.fake.account.interrupt(name)
        return bool(alive)

    def kill_process(self, _: float) -> bool:
        """The pod's process dies; the pod stays in the account as EXITED."""
        killed = False
        for pod in self.fake.account.pods.values():
            if pod.process is not None and pod.process.poll() is None and not pod.removed:
                self.fake.account.machines._signal(pod, signal.SIGKILL)
                killed = True
        return killed

    def storage_away(self, seconds: float) -> None:
        """Every call answers 503, for pods and for us."""
        self.storage.mkdir(parents=True, exist_ok=True)
        faulty_storage.break_storage(self.storage, "503")

        def back() -> None:
            with suppress(FileNotFoundError):
                faulty_storage.mend_storage(self.storage)

        self.world.later(seconds, back)

    def spot_removed(self, _: float) -> None:
        self.fake.account.market.spot_offered = False

    def no_stock(self, seconds: float) -> None:
        taken = [(kind, place, n) for kind in self.market.kinds for place, n in kind.stock.items()]
        for kind, place, _ in taken:
            kind.stock[place] = 0

        def back() -> None:
            for kind, place, number in taken:
                kind.stock[place] += number

        self.world.later(seconds, back)

    @property
    def market(self) -> Market:
        return self.fake.account.market

    def balance_empty(self, seconds: float) -> None:
        """Somebody else used the credit up; it is filled up again later."""
        bill = self.fake.account.bill
        lost = bill.balance_micro(self.world.now())
        bill.credit_micro -= lost

        def back() -> None:
            bill.credit_micro += lost

        self.world.later(seconds, back)

    def api_away(self, seconds: float) -> None:
        """Every request to REST answers 503."""
        self.fake.away = True

        def back() -> None:
            self.fake.away = False

        self.world.later(seconds, back)

    def cancel(self, _: float) -> bool:
        return self._ask("cancel")

    def pause(self, _: float) -> bool:
        return self._ask("pause")

    def _ask(self, reason: Any) -> bool:
        folder = RunFolder("faulty://" + str(self.storage), self.job_id)
        with suppress(Exception):  # the storage is away: the person cannot ask either
            if not folder.exists("control/stop.json"):
                folder.request_stop(reason, "a person", self.world.now())
                return True
        return False
