"""How much work a planned job is, for its estimate and for what later estimates learn from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from brightrun import baselines, quotes
from brightrun.context import JobContext
from brightrun.durations import Work
from brightrun.runfolder import MANIFEST
from brightrun.specs import JobSpec
from evals import harness
from evals.carrying import LEFT
from evals.plan import HARNESS, PLAN
from tasks.freezing import stored_report


def work_of(job: JobContext, known: Collection[str], interruptions: int = 0) -> Work:
    """With what a request does not know: how many scenarios a client's own file has, lm-eval's
    tasks, and what is known of the baseline. Once a pod has run, that is what it has used of it.

    known: the kinds of `known_baseline`.
    """
    work = quotes.work_of(stored_report(job), job.spec.values, interruptions)
    work = replace(work, harness_tokens=harness.tokens(job.folder.read_jsonl(HARNESS)))
    if job.request.assesses:
        models = len(job.folder.read_json(PLAN)["models"])
        return quotes.only_measuring(work, job.folder.read_json(LEFT), models)
    split = as_split(work, job.spec, job.folder.read_json(f"data/{MANIFEST}"))
    return replace(split, known=frozenset(known))


def as_split(work: Work, spec: JobSpec, manifest: Mapping[str, Any]) -> Work:
    """With what data/manifest.json counts; a file alone tells the held-out share only. Pure."""
    pairs = spec.values.sequence == "pair"
    return replace(
        work,
        train_tokens=manifest["train_tokens"],
        sum_squared_tokens=manifest["sum_squared_tokens"],
        supervised_tokens=manifest["supervised_tokens"],
        sequences=manifest["supervised_pairs" if pairs else "train_sequences"],
        steps=spec.total_steps,
        validation_tokens=manifest["validation_tokens"],
    )


def known_baseline(job: JobContext) -> dict[str, str]:
    """{kind: job} of the baseline's measurements that are used again."""
    machine = quotes.machine_for(job.request.provider, job.request.gpu, job.settings)
    return {} if job.request.assesses else baselines.known(job.folder, gpu=machine.is_gpu)
