"""NF4 copies of base models: made once by a pod for the volume, checked by every pod.

A copy is a prepared model of its own, beside the weights that it is made of, with a manifest.json
that is written last: every file's size and sha256, of which weights and on what it was made. The
job's spec names folder and manifest by hash; no torch is needed to check them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from brightrun import basemodels
from brightrun.errors import ConfigurationError
from brightrun.runfolder import MANIFEST, sha256_file
from brightrun.specs import COPY_WISH, BaseModelRef, JobSpec, QuantisedCopy

if TYPE_CHECKING:
    from trainer.attempt import Attempt

SUFFIXES = (".json", ".jinja")
SHARD = "5GB"  # hashed side by side at every start of a pod


def run(attempt: Attempt, spec: JobSpec) -> dict[str, Any]:
    """Fetch, quantise and write what the run folder asks for; the content of `_DONE`."""
    from trainer import fetching, hardware, loading
    from trainer.libraries import quiet

    quiet()
    wish = attempt.folder.read_json(COPY_WISH)
    model, models = spec.base_model, attempt.pod.models
    with attempt.reporter.stage("preprocessing"):
        source = fetching.prepared(model, models, attempt.wait)
        basemodels.verify_weights(source)
    target = models / str(wish["folder"])
    if not is_complete(target, model):
        attempt.control.check()
        with attempt.reporter.stage("model_loading") as detail:
            base = loading.load_base(source, "nf4")
            detail.update(reasons=list(base.reasons), memory_mb=hardware.memory_mb())
        attempt.control.check()
        with attempt.reporter.stage("finalization"):
            write(base.model, source, target, model)
    size = sum(f["bytes"] for f in json.loads((target / MANIFEST).read_bytes())["files"].values())
    return {
        "folder": target.name,
        "manifest_sha256": sha256_file(target / MANIFEST),
        "gigabytes": round(size / 1e9, 3),
        "seconds": attempt.reporter.seconds,
    }


def write(model: Any, source: Path, target: Path, made_of: BaseModelRef) -> None:
    """A loaded NF4 model as a prepared folder; it appears whole, a broken one is replaced."""
    from trainer import hardware, prepare

    with FileLock(target.parent / f".{target.name}.lock"):
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            model.save_pretrained(temporary, max_shard_size=SHARD)
            for file in sorted(source.iterdir()):
                known = (temporary / file.name).exists() or file.name in prepare.OURS
                if file.suffix in SUFFIXES and not known and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, temporary / file.name)
            hashes = basemodels.weight_hashes(temporary)
            facts = {**basemodels.profile(source), **prepare.facts_of(temporary, hashes)}
            facts["made_of"] = made_of.model_dump(include={"name", "revision", "sha256"})
            (temporary / basemodels.PREPARED).write_text(json.dumps(facts, indent=1))
            manifest = {
                "files": {
                    f.name: facts_of_file(f, hashes.get(f.name))
                    for f in sorted(temporary.iterdir())
                },
                "made_of": facts["made_of"],
                "made_on": hardware.describe(),
                "versions": hardware.versions(),
            }
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            shutil.rmtree(target, ignore_errors=True)
            temporary.chmod(0o755)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def facts_of_file(file: Path, sha256: str | None = None) -> dict[str, Any]:
    """sha256: None = it is read again."""
    return {"bytes": file.stat().st_size, "sha256": sha256 or sha256_file(file)}


def is_complete(folder: Path, made_of: BaseModelRef) -> bool:
    """Whether an earlier pod has written this copy, and all of it is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        same = manifest["made_of"]["sha256"] == made_of.sha256
        return same and all(
            facts_of_file(folder / name) == facts for name, facts in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def checked(model: BaseModelRef, copy: QuantisedCopy, models: Path) -> Path:
    """The copy's folder. Its weights are compared with prepared.json by `verify_weights`, like any
    prepared model's; everything else here.

    ConfigurationError: it is not on the volume, or is not the one that the job was planned with.
    """
    folder = models / copy.folder
    try:
        written = (folder / MANIFEST).read_bytes()
    except OSError:
        raise refused(model, folder, "is not on the volume", "model_missing") from None
    if hashlib.sha256(written).hexdigest() != copy.manifest_sha256:
        raise refused(model, folder, "has another manifest than the job was planned with")
    manifest = json.loads(written)
    if manifest["made_of"]["sha256"] != model.sha256:
        raise refused(model, folder, "was made of other weights")
    for name, facts in manifest["files"].items():
        file = folder / name
        try:
            same = file.stat().st_size == facts["bytes"]
            if same and file.suffix in SUFFIXES:
                same = sha256_file(file) == facts["sha256"]
        except OSError:
            same = False
        if not same:
            raise refused(model, folder, f"is damaged: {name} is not what the manifest says")
    return folder


def refused(
    model: BaseModelRef, folder: Path, why: str, fault: str = "model_changed"
) -> ConfigurationError:
    return ConfigurationError(
        f"the NF4 copy {folder.name} of base model {model.name!r} {why}",
        cause="the volume was changed after the job was planned, or is another one",
        fix="`brightrun setup volume` makes the copy again; or start a new job with "
        '`BRIGHTRUN_CHOICES=\'{"weights": "quantised while loading"}\'`',
        fault=fault,
    )
