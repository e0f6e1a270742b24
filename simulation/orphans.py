"""Pods that must go: how long they bill until the real reaper has ended them."""

from __future__ import annotations

from datetime import datetime, timedelta

from brightrun.reaping import Books, ReaperRules, Sighting, doomed
from simulation.world import World

EVERY = timedelta(minutes=5)
DELETE_SECONDS, AGAIN_SECONDS = 3.0, 30.0
HORIZON = timedelta(hours=24)
NAME = "br-simulated-1-0"


def ending(world: World) -> float:
    """Seconds from the first delete until a pod is gone; an ignored one is asked again."""
    seconds = DELETE_SECONDS
    while world.happens("create", "ignored_delete"):
        seconds += AGAIN_SECONDS
    return seconds


def sweep(world: World, born: datetime) -> float | None:
    """Seconds that a pod lives whose create call nobody could confirm; None: it leaked.

    Its attempt was closed as never started; the reaper comes every five minutes.
    """
    books = {NAME: Books(job_id="simulated", launched_at=born, attempt_ended=True)}
    now = born + EVERY * world.luck.random()
    while now - born < HORIZON:
        if doomed([Sighting(name=NAME, since=born)], books, now, ReaperRules()):
            gone = ending(world)
            if timedelta(seconds=gone) < EVERY:
                return (now - born).total_seconds() + gone
        now += EVERY
    return None
