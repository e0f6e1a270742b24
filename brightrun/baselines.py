"""The baseline's measurements, kept across jobs: the same model and items are never paid for twice.

`{storage}/baselines/jobs/{key}/rows.jsonl` and its manifest (sizes, sha256), one key for each kind
of measurement: base model and its weights' hash, revision, template, precision, and the hash of
what was asked. Plain JSON lines, checked by hash before use. A job's plan lays what is known into
its run folder as finished items; the pod measures only what is not there, and throws it away when
it was measured on another kind of machine or with other libraries (`measurements/cached.json`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from brightrun.errors import StorageError
from brightrun.jobs import JobSpec
from brightrun.modelnames import BASELINE
from brightrun.runfolder import RunFolder
from brightrun.verdicts import MetricName

PARTS = "measurements/parts"
# Before any attempt: the pod's own parts begin with the attempt's number, from 1.
PART = "0000-000001.jsonl"
CACHED = "measurements/cached.json"
MACHINE = "measurements/machine.json"
SCORES = "scores"
# All that tells measured items apart, of every kind.
ITEM = (
    "conversation_id", "text_id", "question_id", "rotation", "item_id", "scenario_id", "pass"
)  # fmt: skip
# What the baseline's mean of a metric is only good for: the items that it was measured on.
SCORED_ON = "answers"
MEANS = {
    MetricName.knowledge_retention.value: "knowledge",
    MetricName.perplexity.value: "likelihood",
}


def keys(spec: JobSpec, plan: dict[str, Any]) -> dict[str, str]:
    """The cache's key for each kind that this plan measures: hashes of all that decides a row."""
    base, values, files = spec.base_model, spec.values, plan["files"]
    same: dict[str, Any] = {
        "base": base.sha256 or base.name,
        "revision": base.revision,
        "template": base.template,
        "context": min(values.max_length, base.context),
        "precision": values.precision,
    }
    if base.quantised is not None:
        same["quantised"] = base.quantised.manifest_sha256
    decoding = {**plan["decoding"], "passes": values.passes}
    if values.passes > 1:
        decoding["seed"] = values.seed
    asked: dict[str, Any] = {
        "likelihood": {"validation": spec.data.validation_sha256},
        "neutral": {"file": files.get("plan/neutral.jsonl", "")},
        "knowledge": {"file": files["plan/questions.jsonl"], "rotations": values.rotations},
        "option_text": {"file": files["plan/questions.jsonl"]},
        "answers": {"file": files["plan/scenarios.jsonl"], **decoding},
    }
    if "plan/harness.jsonl" in files:
        asked["harness"] = {"file": files["plan/harness.jsonl"]}
    return {kind: _key({"kind": kind, **same, **what}) for kind, what in asked.items()}


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]


def place(storage_url: str, key: str) -> RunFolder:
    """The folder of one key."""
    return RunFolder(f"{storage_url}/baselines", key)


def item(row: dict[str, Any]) -> tuple[Any, ...]:
    """What was asked, whoever answered."""
    return tuple(row.get(name) for name in ITEM)


def lay_out(folder: RunFolder, spec: JobSpec, plan: dict[str, Any]) -> dict[str, Any]:
    """Copy what is known into a planned run folder; {kind: {job, rows}} of what was found.

    All kinds must come from one kind of machine: the first one's decides.
    """
    found: dict[str, Any] = {}
    machine: dict[str, Any] | None = None
    for kind, key in keys(spec, plan).items():
        known = read(folder.storage_url, key)
        if known is None or (machine is not None and known["machine"] != machine):
            continue
        machine = known["machine"]
        folder.write_jsonl(f"{PARTS}/{kind}/{PART}", known["rows"])
        found[kind] = {"job": known["job"], "rows": len(known["rows"])}
    if found:
        folder.write_json(CACHED, {"machine": machine, "kinds": found})
    return found


def known(folder: RunFolder, *, gpu: bool) -> dict[str, str]:
    """{kind: job} of the baseline's rows in a run folder that were measured by an earlier job.

    gpu: where the pod runs; what a CPU has measured is no use there, nor the other way round. A pod
    removes what another kind of machine has measured.
    """
    if not folder.exists(CACHED):
        return {}
    cached = folder.read_json(CACHED)
    if (cached["machine"]["hardware"]["device"] != "cpu") != gpu:
        return {}
    return {kind: found["job"] for kind, found in cached["kinds"].items()}


def read(storage_url: str, key: str) -> dict[str, Any] | None:
    """{rows, machine, job} of a key; None when it is absent, damaged or half written."""
    folder = place(storage_url, key)
    with tempfile.TemporaryDirectory(prefix="brightrun-baseline-") as scratch:
        try:
            manifest = folder.download_folder("rows", Path(scratch))
            lines = (Path(scratch) / "rows.jsonl").read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
        except (StorageError, OSError, ValueError):
            return None
    if any(row.get("model", BASELINE) != BASELINE for row in rows):
        return None
    return {"rows": rows, "machine": manifest["machine"], "job": manifest["job"]}


def keep(folder: RunFolder, spec: JobSpec, plan: dict[str, Any], scores: list[Any]) -> list[str]:
    """Store a measured job's baseline for the next ones, with its mean scores; the kinds stored.

    What is there of such a machine stays: whoever comes later has the same rows. Another machine's
    or damaged rows are replaced, or nobody there could use them ever again. Means that this job has
    not (nobody has rated its answers, it asked other questions) stay.
    """
    if not folder.exists(MACHINE):
        return []
    facts = {"machine": folder.read_json(MACHINE), "job": folder.job_id}
    known = keys(spec, plan)
    stored = []
    for kind, key in known.items():
        target = place(folder.storage_url, key)
        rows = [
            r for r in folder.read_jsonl(f"measurements/{kind}.jsonl") if r["model"] == BASELINE
        ]
        held = read(folder.storage_url, key) if rows else None
        if rows and (held is None or held["machine"] != facts["machine"]):
            _store(target, rows, facts)
            stored.append(kind)
    if scores:
        target = place(folder.storage_url, known[SCORED_ON])
        rows = [
            {**row, "key": known[MEANS.get(row["metric"], SCORED_ON)], "job": folder.job_id}
            for row in scores
        ]
        new = {_which(row) for row in rows}
        older = [row for row in _means(target) if _which(row) not in new]
        _store(target, [*older, *rows], facts, SCORES)
    return stored


def scores(storage_url: str, spec: JobSpec, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Means of this baseline on what this plan asks, each with the job that found it."""
    now = keys(spec, plan)
    rows = _means(place(storage_url, now[SCORED_ON]))
    return [row for row in rows if row.get("key") in now.values()]


def _means(folder: RunFolder) -> list[dict[str, Any]]:
    """All means kept in a folder; none when they are absent or damaged."""
    manifest = folder.manifest(SCORES)
    if manifest is None:
        return []
    data = folder.read_bytes(f"{SCORES}/rows.jsonl")
    if hashlib.sha256(data).hexdigest() != manifest["files"]["rows.jsonl"]["sha256"]:
        return []
    # Rows of an older version name no job: all that is known then is who kept some last.
    return [{"job": manifest["job"], **json.loads(line)} for line in data.splitlines()]


def _which(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["metric"], row["evidence"], row.get("key")


def _store(target: RunFolder, rows: list[Any], facts: dict[str, Any], name: str = "rows") -> None:
    with tempfile.TemporaryDirectory(prefix="brightrun-baseline-") as scratch:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (Path(scratch) / "rows.jsonl").write_text(lines, encoding="utf-8")
        target.upload_folder(Path(scratch), name, facts)
