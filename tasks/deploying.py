"""The package once more: with an old weights file, and checked from its zip alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from brightrun import basemodels
from brightrun.context import JobContext
from brightrun.errors import ReportError
from brightrun.runfolder import sha256_file
from brightrun.settings import CHECKOUT
from reports import package
from reports.handing import CHECKED, packed
from tasks.results import note_package, package_parts, room_for

COUNTED = re.compile(r"(\d+) of (\d+) answers are the same")
CHECK_SECONDS = 3600


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


def check(job: JobContext, base: Path | None = None) -> dict[str, Any]:
    """Unpack the zip, answer its golden prompts with its own script, compare; the result is kept.

    ReportError when an answer differs or the script fails: then the package is not deployable.
    """
    name = packed(job)
    model = base or basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    with tempfile.TemporaryDirectory(prefix="brightrun-check-") as room:
        zipped = Path(room) / name
        job.folder.download(f"package/{name}", zipped)
        digest = sha256_file(zipped)
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(Path(room) / "client")
        folder = next((Path(room) / "client").iterdir())
        done = subprocess.run(
            [sys.executable, "-I", "inference.py", "--check", "--base", str(model.resolve())],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": room, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
    counted = COUNTED.search(done.stdout)
    if counted is None:
        raise ReportError(
            f"the package's inference.py failed: {(done.stderr or done.stdout).strip()[-400:]}",
            fix="read its message; --base names the base model's folder",
        )
    same, asked = int(counted[1]), int(counted[2])
    found = {"same": same, "asked": asked, "sha256": digest}
    job.folder.write_json(CHECKED, found)
    if same != asked:
        raise ReportError(
            f"{asked - same} of {asked} golden answers differ",
            cause="another kind of machine, other library versions, or a damaged package",
            fix="check on the kind of machine that measured; compare generation.json",
        )
    return found
