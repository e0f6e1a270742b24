"""From a training file to a report and a package: the whole job.

Every stage skips what is already done, so a killed run is resumed by running it again.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from brightrun.jobs import JobRequest
from flows import lifecycle
from tasks import assessing, deploying, gate, intake, learn, people, pod, results


@flow(
    name="finetune",
    flow_run_name=lifecycle.run_name,
    on_cancellation=[lifecycle.release_pods],
    on_crashed=[lifecycle.release_pods],
    on_failure=[lifecycle.release_pods],
    persist_result=True,
    result_serializer="json",
)
def finetune(request: JobRequest, job_id: str = "") -> dict[str, Any] | State[Any]:
    """Check, estimate, gate, train, measure, report, package; or measure an adapter again.

    Args:
        request: What to train and how. Empty overrides keep the preset's values.
        job_id: Leave empty for a new job; the id of an earlier job goes on with it.
    """
    with lifecycle.driving(request, job_id) as job_id:
        if lifecycle.begin(job_id):
            work(job_id, request)
    return lifecycle.outcome(job_id)


def work(job_id: str, request: JobRequest) -> None:
    """Stage after stage."""
    intake.prepare(job_id)
    if request.assesses:
        assessing.plan(job_id)
    else:
        intake.validate(job_id)
        intake.plan(job_id)
    gate.estimate(job_id)
    answer = gate.gate(job_id)
    while answer == "waiting" and lifecycle.may_ask():
        gate.record(job_id, lifecycle.ask(job_id))
        answer = gate.gate(job_id)
    if answer == "go":
        people.notify(job_id, "started")
        pod.train(job_id)
        results.evaluate(job_id)
        results.report(job_id)
        results.package_adapter(job_id)
        deploying.check_package(job_id)
        learn.learn(job_id)
        lifecycle.complete(job_id)
        people.notify(job_id, "completed")
