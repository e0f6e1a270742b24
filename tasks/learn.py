"""Keep what a finished job's parts took, for the estimates that follow, and what they cost."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import accounts, basemodels, quotes
from brightrun.context import open_job
from brightrun.observations import observed_parts
from brightrun.physics import ModelProfile
from tasks.intake import stored_report


@task(name="learn", cache_policy=NO_CACHE)
def learn(job_id: str) -> None:
    """An estimate is as good as the jobs it remembers."""
    job = open_job(job_id)
    request = job.request
    work = quotes.work_of(stored_report(job), request.values)
    machine = quotes.machine_for(request.provider, request.gpu, job.settings)
    base = basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    model = ModelProfile.of_prepared(basemodels.profile(base))
    found = observed_parts(job.progress(), work, machine, model, request.values)
    if request.smoke:  # two steps say nothing of a training's pace, but the model was loaded
        found = [part for part in found if part.part == "model_loading"]
    job.ledger.add_observations(job_id, found)
    accounts.settle(job)
