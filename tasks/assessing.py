"""Assess an adapter again: the run folder of a job that trains nothing and measures what is new."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import assessments, baselines, basemodels, delivered
from brightrun.context import JobContext, open_job
from brightrun.errors import EvaluationError
from brightrun.jobs import JobSpec
from brightrun.modelnames import BASELINE, MODELS, TRAINED
from brightrun.runfolder import RunFolder, sha256_file
from evals import carrying
from evals.own import asked
from evals.plan import GOLDEN, PLAN, make_plan
from evals.planned import first_of, foreign
from tasks import story
from tasks.freezing import refuse_contaminated, stored_report, with_copy

ADAPTER, ADAPTERS = "adapter", "adapters"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
COPIED = ("validation.json", "data/train.jsonl", "data/validation.jsonl", "data/manifest.json")


@task(name="plan assessment", cache_policy=NO_CACHE)
def plan(job_id: str) -> None:
    """Data, adapters, plan and every row that is measured already; spec.json last."""
    job = open_job(job_id)
    if job.folder.exists("spec.json"):
        return
    with job.stage("plan", "validating"):
        source = open_job(job.request.assesses)
        own = job.request.adapter
        if not own:
            finished(source)
        copy_data(source, job.folder)
        weights = bring_adapters(job, source)
        spec = frozen_spec(job, source, weights)
        models = MODELS if not own else (BASELINE,)
        if not own:
            copy_golden(source.folder, job.folder)
        taken = carrying.carry_over(source.folder, job.folder, models)
        baselines.lay_out(job.folder, spec, job.folder.read_json(PLAN))
        left = carrying.left(job.folder, spec.data.validation_conversations)
        if not any(left.values()):
            raise EvaluationError(
                f"all that is asked for was measured by job {source.job_id} already",
                fix=f"brightrun evaluate {source.job_id} concludes again from that, without a pod",
            )
        story.tell(told(source.job_id, taken, left))
        job.folder.write_json(carrying.LEFT, left)
        record = {"job_id": job_id, "spec_hash": spec.spec_hash()}
        job.folder.write_json("spec.json", {**record, "spec": spec.model_dump(mode="json")})
        job.ledger.update_job(job_id, spec_hash=spec.spec_hash(), spec=spec.model_dump(mode="json"))


def copy_golden(source: RunFolder, target: RunFolder) -> None:
    """The delivery script's answers, where the same prompts are asked."""
    rows = delivered.GOLDEN
    if source.exists(rows) and source.read_json(GOLDEN) == target.read_json(GOLDEN):
        for name in (delivered.PACKAGES, rows):
            if source.exists(name):
                target.write_bytes(name, source.read_bytes(name))


def finished(source: JobContext) -> None:
    """EvaluationError when the job has no complete adapter and measurements."""
    if source.folder.manifest(ADAPTER) is None or not source.folder.exists(PLAN):
        raise EvaluationError(
            f"job {source.job_id} has no finished adapter to assess",
            cause=f"it is {source.ledger.job(source.job_id).status}",
            fix=f"let it finish first: brightrun train --resume {source.job_id}",
        )


def copy_data(source: JobContext, target: RunFolder) -> None:
    for name in COPIED:
        if source.folder.exists(name):
            target.write_bytes(name, source.folder.read_bytes(name))


def bring_adapters(job: JobContext, source: JobContext) -> dict[str, str]:
    """adapter/ and adapters/{name}/ with their manifests; sha256 of the weights by name, that of
    `trained` only when it is not the source job's own."""
    found = {}
    if job.request.adapter:
        found[TRAINED] = bring(job.request.adapter, job, source, ADAPTER)
    else:
        bring(source.job_id, job, source, ADAPTER)
    named = assessments.named(job.request.beside)
    for name in named:
        found[name] = bring(named[name], job, source, f"{ADAPTERS}/{name}")
    return found


def bring(wish: str, job: JobContext, source: JobContext, relative: str) -> str:
    """Copy an adapter (a folder, or a job's) into the run folder; sha256 of its weights.

    EvaluationError when there is none, or it was trained on another base model than the source's.
    """
    folder = Path(wish).expanduser()
    with tempfile.TemporaryDirectory(prefix="brightrun-adapter-") as scratch:
        facts: dict[str, Any] = {"from": folder.name}
        given = folder.is_dir()
        if not given:
            other = open_job(wish)
            finished(other)
            if other.spec.base_model.identity != source.spec.base_model.identity:
                raise another_base(wish, other.spec.base_model.name, source)
            manifest = other.folder.download_folder(ADAPTER, Path(scratch))
            facts = {k: v for k, v in manifest.items() if k != "files"} | {"from": other.job_id}
            folder = Path(scratch)
        missing = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
        if missing:
            raise EvaluationError(
                f"{wish} holds no {' and no '.join(missing)}",
                cause="it is no LoRA adapter in PEFT's format, or its weights are pickled",
                fix="give a job's id, or a folder with safetensors weights and their config",
            )
        if given and (name := named_base(folder / CONFIG)) not in {"", *names_of(source)}:
            raise another_base(wish, name, source)
        with tempfile.TemporaryDirectory(prefix="brightrun-adapter-") as clean:
            for name in (WEIGHTS, CONFIG):
                (Path(clean) / name).write_bytes((folder / name).read_bytes())
            job.folder.upload_folder(Path(clean), relative, facts)
        return sha256_file(folder / WEIGHTS)


def names_of(source: JobContext) -> set[str]:
    """What an adapter's config may call the source's base model."""
    base = source.spec.base_model
    facts = basemodels.profile(basemodels.prepared_folder(base, source.settings.models))
    told = (base.name, facts.get("name"), facts.get("public_name"))
    named = {str(name) for name in told if name}
    return named | {name.partition("@")[0] for name in named}  # of a hub id: without the revision


def named_base(config: Path) -> str:
    """The base model that an adapter's config names; "" = none."""
    try:
        return str(json.loads(config.read_bytes()).get("base_model_name_or_path") or "")
    except (ValueError, AttributeError):
        raise EvaluationError(
            f"{config} cannot be read", fix="give an adapter with the config that PEFT wrote"
        ) from None


def another_base(wish: str, name: str, source: JobContext) -> EvaluationError:
    return EvaluationError(
        f"{wish} was trained on base model {name}, job {source.job_id} on "
        f"{source.spec.base_model.name}",
        cause="an adapter's numbers mean nothing on another model's weights",
        fix="name a job with that base model; if it is the same under another name, correct "
        f"base_model_name_or_path in its {CONFIG}",
    )


def frozen_spec(job: JobContext, source: JobContext, weights: Mapping[str, str]) -> JobSpec:
    """The source's spec with another plan: the data, base model and values that decide the rest."""
    request, before = job.request, source.spec
    basemodels.prepared_folder(before.base_model, job.settings.models)
    # The wish, not the spec: that counts the client's prompts too, which come on top again.
    tested = asked(request.values.scenarios, request.values.questions, request.tested_with)
    chosen = request.overrides.model_dump(exclude_none=True)
    measuring = {k: v for k, v in chosen.items() if k in ("passes", "rotations", "max_new_tokens")}
    values = before.values.model_copy(
        update={
            **measuring, "scenarios": len(tested.scenarios), "questions": len(tested.questions),
        }
    )  # fmt: skip
    refuse_contaminated(job, tested, story.remark)
    tested.write(job.folder)
    system_prompt = stored_report(job).system_prompt
    planned_before = source.folder.read_json(PLAN)
    first, others = first_of(planned_before), dict(weights)
    if sha256 := foreign(planned_before):
        others.setdefault(TRAINED, sha256)
    made = make_plan(values, system_prompt, tested=tested, others=others, first=first)
    planned = {"values": values, "plan_sha256": made.write(job.folder)}
    return before.model_copy(update={**planned, "base_model": with_copy(job, before.base_model)})


def told(source: str, taken: Mapping[str, int], left: Mapping[str, int]) -> str:
    """What is used again and what has to be measured, in one line."""
    again, new = (
        ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in side.items() if number)
        for side in (taken, left)
    )
    return f"From job {source}: {again or 'nothing'}. To measure: {new or 'nothing'}"
