"""Pods that must go: how long they bill, and how long until the real code believes them gone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from brightrun.compute.ending import make_gone
from brightrun.compute.provider import Pod
from brightrun.compute.runpod.provider import manners
from brightrun.reaping import Books, ReaperRules, Sighting, doomed
from brightrun.settings import Settings
from simulation.world import EPOCH, World

EVERY = timedelta(minutes=5)
DELETE_SECONDS = 3.0
HORIZON = timedelta(hours=24)
NAME = "br-simulated-1-0"
MANNERS = manners(Settings.model_construct())  # as shipped, whatever the environment says


class Ended(NamedTuple):
    """Seconds from the first look until the pod was not seen, and until that was confirmed."""

    absent: float
    sure: float


@dataclass(slots=True)
class Leaving:
    """A pod that has to go: the provider that lists it `until` then, and the clock."""

    world: World
    until: float
    passed: float = 0.0
    manners = MANNERS

    def find(self, name: str) -> Pod | None:
        there = self.passed < self.until
        return Pod(name=name, provider_id="", state="running") if there else None

    def terminate(self, name: str) -> None:
        if self.until == math.inf and not self.world.happens("create", "ignored_delete"):
            self.until = self.passed + DELETE_SECONDS

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def ending(world: World, *, listed: bool = True) -> Ended:
    """What `make_gone` does with a pod that the provider still lists, or does not."""
    pod = Leaving(world, math.inf if listed else 0.0)
    gone = make_gone(pod, NAME, pod)
    return Ended((gone.since - EPOCH).total_seconds(), pod.passed)


def sweep(world: World, born: datetime) -> float | None:
    """Seconds that a pod lives whose create call nobody could confirm; None: it leaked.

    Its attempt was closed as never started; the reaper comes every five minutes.
    """
    books = {NAME: Books(job_id="simulated", launched_at=born, attempt_ended=True)}
    now = born + EVERY * world.luck.random()
    while now - born < HORIZON:
        if doomed([Sighting(name=NAME, since=born)], books, now, ReaperRules()):
            return (now - born).total_seconds() + ending(world).absent
        now += EVERY
    return None
