"""The package once it is packed: checked from its zip alone, or built anew with old weights."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import basemodels
from brightrun.context import JobContext, open_job
from brightrun.errors import ReportError
from brightrun.outages import told, unless_away
from brightrun.runfolder import sha256_file
from brightrun.settings import CHECKOUT
from reports import package
from reports.proven import CHECKED, golden_answers, packed
from tasks import as_measured, story
from tasks.results import note_package, package_parts, room_for

COUNTED = re.compile(r"(\d+) of (\d+) answers are the same")


@task(name="check package", cache_policy=NO_CACHE)
def check_package(job_id: str) -> None:
    """The golden answers once more, from the zip alone; the job stands whatever comes of it."""
    prove(open_job(job_id))


def prove(job: JobContext) -> None:
    """Check a new package where that says something; without it, `share` refuses the package."""
    by_hand = f"brightrun package {job.job_id} --check"
    try:
        if golden_answers(job):
            return
        if why := unproven(job):
            story.tell(f"The package was not checked from its zip: {why}. To share it: {by_hand}")
            return
        story.tell("Making the golden answers again, from the package's zip alone")
        found = check(job)
    except ReportError as error:
        said = f"The package is not deployable: {error.message}"
    except Exception as error:  # noqa: BLE001 whatever it is, the job is done and paid for
        said = f"The package could not be checked: {told(error).message}"
    else:
        story.tell(f"The zip alone gave {shown(found)}")
        return
    story.tell(said, story.WARNING)
    unless_away(job.note, "warning", {"code": "package_check", "message": said, "fix": by_hand})


def shown(found: dict[str, Any]) -> str:
    """`3 of 3 golden answers; as measured: 0.003 nats a token apart on ...`."""
    likeness = found.get("as_measured")
    more = f"; {as_measured.said(likeness)}" if likeness else ""
    return f"{found['same']} of {found['asked']} golden answers{more}"


def unproven(job: JobContext) -> str:
    """Why the flow does not make the golden answers again; empty: it does."""
    if job.spec.values.quick:
        return "a quick look does not take the time"
    if job.provider.manners.far_away:
        return (
            "another kind of machine answers otherwise than the pod did, so it takes one of the "
            "pod's kind (docs/runpod.md, Checking a package)"
        )
    return ""


def rebuild(job: JobContext, *, with_bin: bool) -> str:
    """Build the zip anew and store it; where it lies."""
    with room_for(job) as room:
        parts = package_parts(job, room)
        if with_bin:
            parts["old_weights"] = _old_weights(parts["adapter"])
        made = package.build(room, **parts)
        job.folder.upload(made, f"package/{made.name}")
    job.folder.remove(CHECKED)
    return note_package(job, made.name)


def _old_weights(adapter: Path) -> Path:
    target = adapter / "adapter_model.bin"
    command = [
        sys.executable, "-m", "trainer.tobin", str(adapter / "adapter_model.safetensors"),
        str(target),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReportError(
            f"adapter_model.bin could not be made: {done.stderr.strip()[-300:]}",
            fix="install the trainer's packages: pip install -e .[trainer]",
        )
    return target


def check(
    job: JobContext, base: Path | None = None, score: as_measured.Score = as_measured.scored
) -> dict[str, Any]:
    """Unpack the zip, answer its golden prompts with its own script, compare; the result is kept.

    Its model must also find held-out answers as likely as the evaluation did. ReportError when
    one of both differs or a script fails: then the package is not deployable.
    """
    name = packed(job)
    model = base or basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    with room_for(job) as place:
        zipped = place / name
        job.folder.download(f"package/{name}", zipped)
        digest = sha256_file(zipped)
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(place / "client")
        folder = next((place / "client").iterdir())
        model = model.resolve()
        done = as_measured.alone(folder, place, "inference.py", "--check", "--base", str(model))
        counted = COUNTED.search(done.stdout)
        if counted is None:
            raise ReportError(
                f"the package's inference.py failed: {(done.stderr or done.stdout).strip()[-400:]}",
                fix="read its message; --base names the base model's folder",
            )
        same, asked = int(counted[1]), int(counted[2])
        found: dict[str, Any] = {"same": same, "asked": asked, "sha256": digest}
        if same == asked:
            found["as_measured"] = as_measured.compared(job, folder, model, place, score)
    job.folder.write_json(CHECKED, found)
    if same != asked:
        raise ReportError(
            f"{asked - same} of {asked} golden answers differ",
            cause="another kind of machine, other library versions, or a damaged package",
            fix="check on the kind of machine that measured; compare generation.json",
        )
    likeness = found["as_measured"]
    if likeness and not likeness["same"]:
        raise ReportError(
            f"the package is not the model that was evaluated: {as_measured.said(likeness)}",
            cause="another base model, adapter, template or precision than was measured",
            fix=f"brightrun package {job.job_id}, then --check on the machine that measured",
        )
    return found
