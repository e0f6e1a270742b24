"""Check the training file, freeze what will be run and measured."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun.compute import provider_of
from brightrun.context import open_job
from brightrun.preparing import prepare_offline
from brightrun.verdicts import Table
from expectations.dataset_report import dataset_tables
from reports import cards
from tasks import artifacts
from tasks.apart import apart
from tasks.freezing import base_model_name, stored_report


@task(name="prepare base model", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=2)
def prepare(job_id: str) -> None:
    """Make the base model's folder, once per machine; the trainer does it as its own process.

    What is not on this machine is not fetched: that is for `make setup` and the prepare command.
    """
    job = open_job(job_id)
    provider_of(job.request.provider, job.settings)  # one that cannot rent ends here, unpaid
    prepare_offline(base_model_name(job), job.settings.models)


@task(name="validate", cache_policy=NO_CACHE)
def validate(job_id: str) -> None:
    """All defects at once; a broken file ends the job here."""
    job = open_job(job_id)
    if job.folder.exists("validation.json"):
        # Another flow run goes on with the job: its page shows the file too.
        show(dataset_tables(stored_report(job)))
        return
    with job.stage("validate", "validating"):
        table = Table.model_validate(apart("validate", job_id))
    show(table)


def show(table: Table) -> None:
    artifacts.publish("dataset", cards.dataset(table), "What is in the training file")


@task(name="plan", cache_policy=NO_CACHE)
def plan(job_id: str) -> str:
    """Snapshot, split, measuring plan, frozen spec; returns the spec's hash."""
    job = open_job(job_id)
    if job.folder.exists("spec.json"):
        return job.spec.spec_hash()
    with job.stage("plan", "validating"):
        return str(apart("plan", job_id))
