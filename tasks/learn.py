"""Keep what a finished job's parts took and cost, for estimates that follow, and its adapter."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import accounts, basemodels, quotes, starts
from brightrun.context import JobContext, open_job
from brightrun.observations import begun_once, cpu_seconds, observed_parts, trained
from brightrun.physics import ModelProfile
from tasks import sizing


@task(name="learn", cache_policy=NO_CACHE)
def learn(job_id: str) -> None:
    """An estimate is as good as the jobs it remembers."""
    job = open_job(job_id)
    request = job.request
    if request.assesses:  # nothing was trained: its parts say nothing about the next job's
        accounts.settle(job)
        return
    values, work = job.spec.values, sizing.work_of(job, sizing.known_baseline(job))
    machine = quotes.machine_for(request.provider, request.gpu, job.settings)
    base = basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    model = ModelProfile.of_prepared(basemodels.profile(base))
    events = job.ledger.events(job_id)
    found = observed_parts(
        job.progress(), work, machine, model, values,
        fetched_s=starts.fetched(events),
        starts=accounts.starts_of(job),
        once=begun_once(events),
        trained_s=trained(events),
        cpu=cpu_seconds(events),
    )  # fmt: skip
    if request.smoke:  # two steps say nothing of a training's pace, but the model was loaded
        found = [part for part in found if part.part in ("boot", "model_loading")]
    job.ledger.add_observations(job_id, found)
    accounts.settle(job)
    keep_adapter(job)


def keep_adapter(job: JobContext) -> None:
    """Register it; one that learned from two conversations is for nobody."""
    if not job.request.smoke:
        made, source = job.ledger.job(job.job_id).adapter_sha256, job.spec.data.source_sha256
        job.ledger.register_adapter(job.job_id, series_of(job), made, source)


def series_of(job: JobContext) -> str:
    """Under which name its adapters follow each other: the registered file's, else the file's."""
    wish = job.request.training_file
    names = {row.path: row.name for row in job.ledger.files()}
    return names.get(wish, wish.rsplit("/", 1)[-1])
