"""Follow a running pod: renew its lease, take in its events, see when it has ended or is lost."""

from __future__ import annotations

import math
from collections.abc import Callable

from brightrun import alerts, podcredentials
from brightrun.context import JobContext, driver_name
from brightrun.errors import ProviderError
from brightrun.ledger import AttemptRow
from brightrun.ledger_jobs import CLAIM_STALE_SECONDS
from brightrun.outages import waited_out
from brightrun.podenv import storage_url
from brightrun.stopping import DriverReplaced
from brightrun.storagefaults import is_outage

POLL_SECONDS = 1.0
# A pod that was asked to stop saves and goes within 45 seconds; else it is ended.
STOP_DEADLINE_SECONDS = 60.0
ALERT_SECONDS = 10.0
Tick = Callable[[int], None]


def follow(job: JobContext, attempt: AttemptRow, on_tick: Tick) -> None:
    """Renew the lease and take in events until the pod ended, is lost, or ignores a stop.

    Storage or ledger that do not answer for some minutes end neither pod nor job: the pod goes on
    inside its lease, and what it wrote meanwhile is taken in afterwards.
    """
    watch, clock = Watch(job, attempt, on_tick), job.clock
    while not waited_out(
        clock, watch.ended, is_outage, on_begin=watch.deafened, on_end=watch.answered_again
    ):
        clock.sleep(POLL_SECONDS)


class Watch:
    """What is remembered from one look at a pod to the next; moments are of the monotonic clock."""

    def __init__(self, job: JobContext, attempt: AttemptRow, on_tick: Tick) -> None:
        self.job, self.attempt, self.on_tick = job, attempt, on_tick
        self.last_sign, self.renewed, self.asked = self.now(), -math.inf, math.inf
        self.alerted = self.looked = -math.inf
        self.deaf = False

    def now(self) -> float:
        return self.job.clock.monotonic()

    def ended(self) -> bool:
        """One look; True when there is nothing more to follow."""
        job, number = self.job, self.attempt.number
        if job.folder.marker(number) is not None:
            return True
        now = self.now()
        if self.deaf:  # nor could the pod hear: its silence and its time to obey start anew
            self.last_sign, self.asked = now, math.inf
        if now - self.renewed > min(job.lease_seconds, CLAIM_STALE_SECONDS) / 4:
            renew(job, self.attempt)
            self.renewed = now
        if ingest(job, number):
            self.heard(now)
        out_of_keys(job, self.attempt)
        if now - self.alerted > ALERT_SECONDS:
            alerts.check(job)
            self.alerted = now
        self.on_tick(number)
        if job.folder.stop_request() is not None:
            self.asked = min(self.asked, now)
        return now - self.asked > STOP_DEADLINE_SECONDS or self.lost(now)

    def heard(self, now: float) -> None:
        """A sign of life; the first one ends the boot."""
        if self.attempt.started_at is None:
            job, number = self.job, self.attempt.number
            self.attempt = job.ledger.attempt_started(job.job_id, number, job.clock.now())
        self.last_sign = now

    def lost(self, now: float) -> bool:
        """Over or silent for too long, and still so at a second look."""
        job, number, manners = self.job, self.attempt.number, self.job.provider.manners
        booting = job.ledger.last_seq(job.job_id, number) == 0
        limit = manners.boot_deadline_s if booting else job.settings.heartbeat_stale_seconds
        silent = now - self.last_sign > limit
        if not silent and (now - self.looked < manners.look_every_s or not self.over()):
            return False
        job.clock.sleep(manners.second_look_s)
        if ingest(job, number):
            self.heard(self.now())
            silent = False
        return silent or self.over()

    def over(self) -> bool:
        """The provider shows the pod no more, or as ended: it does no more work."""
        self.looked = self.now()
        try:
            pod = self.job.provider.find(self.attempt.pod_name)
        except ProviderError:
            return False  # nothing is known: the pod's own signs of life tell
        return pod is None or pod.state == "ended"

    def deafened(self, error: Exception) -> None:
        """An outage begins: until a look succeeds the pod cannot be heard."""
        self.deaf = True
        self.job.outage_began(error)

    def answered_again(self, error: Exception, seconds: float) -> None:
        """A look has succeeded, however long it took."""
        self.deaf, self.last_sign = False, self.now()
        self.job.outage_ended(error, seconds)


def renew(job: JobContext, attempt: AttemptRow) -> None:
    """Say that the job is driven: to other drivers first, then to the pod. DriverReplaced."""
    keep_claim(job)
    now, me = job.clock.now(), driver_name()
    job.folder.renew_lease(me, job.lease_seconds, now, attempt=attempt.number)


def keep_claim(job: JobContext) -> None:
    """Say to other drivers that the job is driven; DriverReplaced: one of them drives it."""
    claim = job.ledger.job(job.job_id).claim
    if not job.ledger.renew_claim(job.job_id, driver_name(), job.clock.now()) and claim is not None:
        raise DriverReplaced(
            f"job {job.job_id} is driven by {claim.driver} now",
            cause="this process did not run for a while (a suspended machine?)",
            fix=f"follow it with `brightrun watch {job.job_id}`",
        )


def ingest(job: JobContext, attempt: int) -> int:
    """Take new events of an attempt into the ledger; returns how many were new."""
    after = job.ledger.last_seq(job.job_id, attempt)
    return job.ledger.ingest(job.job_id, job.folder.events(attempt, after))


def out_of_keys(job: JobContext, attempt: AttemptRow) -> None:
    """Ask the pod to make room for one with new storage keys before its own expire."""
    life = podcredentials.lifetime(job.settings, storage_url(job.settings))
    now = job.clock.now()
    if life is None or now - attempt.launched_at < life or job.folder.stop_request() is not None:
        return
    job.folder.request_stop("switch", "storage keys that end soon", now)
