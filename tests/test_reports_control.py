"""The control image has no torch: report and package are made there, of what the pod wrote down."""

from __future__ import annotations

import zipfile
from pathlib import Path

import control_machine
import pytest

from brightrun import delivered
from brightrun.doctor_machine import read_pins
from brightrun.runfolder import RunFolder
from reports import collect, libraries

# As a station does it: every module of the control plane, then a job's last steps and its export.
STEPS = """
import importlib, importlib.util, json, pkgutil
for name in ("torch", "transformers", "peft", "safetensors"):
    assert importlib.util.find_spec(name) is None, name
LEAF = "evals.hub_metrics"
for room in ("brightrun", "evals", "expectations", "flows", "reports", "tasks"):
    for found in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
        if found.name != LEAF:
            importlib.import_module(found.name)

from report_jobs import SHA, evaluated_job
from brightrun import preparing
from brightrun.errors import ConfigurationError
from brightrun import delivered
from reports import package, stephistory
from tasks import pieces, results

job = evaluated_job()
versions = {"torch": "1.2.3+cu130", "transformers": "4.5.6", "accelerate": "7.8.9"}
job.folder.write_json("measurements/machine.json", {"versions": versions, "threads": 2})
settings = {"dtype": "bfloat16", "quantization": "none", "max_new_tokens": 12, "threads": 1,
            "versions": {"torch": "1.2.3+cu130", "peft": "0.1.2"}}
job.folder.write_jsonl(delivered.GOLDEN, [{"id": "g", "text": "Yes.", "settings": settings}])
asked = [{"id": "g", "messages": [{"role": "system", "content": "Be calm."}]}]
job.folder.write_json("plan/golden.json", {"prompts": asked})
base, adapter = job.settings.models / "demo", job.settings.home / "made"
base.mkdir(parents=True)
adapter.mkdir()
for name in package.TOKENIZER_FILES:
    (base / name).write_text("{}")
(base / "prepared.json").write_text(json.dumps({"name": "demo", "sha256": SHA}))
(adapter / "adapter_model.safetensors").write_bytes(b"weights")
(adapter / "adapter_config.json").write_text("{}")
job.folder.upload_folder(adapter, "adapter", {})

pieces.report(job, print)
with results.room_for(job) as room:
    made = package.build(room, **results.package_parts(job, room))
    job.folder.upload(made, f"package/{made.name}")
try:
    preparing.prepare_offline("tiny", job.settings.models)
except ConfigurationError as error:
    assert "torch" in error.cause, error.cause
    assert ".[trainer]" in error.fix
else:
    raise AssertionError("it was prepared without torch")
rows = stephistory.metrics(job)
assert stephistory.encoded(rows, stephistory.METRICS, "parquet")
"""


@pytest.mark.heavy
def test_report_and_package_are_made_where_no_torch_is_installed(tmp_path: Path) -> None:
    python = control_machine.control_machine(tmp_path / "venv")
    home = tmp_path / "home"
    home.mkdir()
    done = control_machine.run_there(python, STEPS, home)
    assert done.returncode == 0, done.stderr
    folder = RunFolder(f"file://{home}/storage", "261120-7f3a")
    told = folder.read_json("report/report.json")["provenance"]
    assert told["torch"] == "1.2.3+cu130"
    assert told["transformers"] == "4.5.6"
    assert told["trl"].endswith("(as pinned in constraints.txt: the pod told none)")
    zipped = zipfile.ZipFile(str(folder.local_path("package/261120-7f3a-package.zip")))
    lines = zipped.read("261120-7f3a-package/requirements.txt").decode().splitlines()
    assert {"torch==1.2.3", "transformers==4.5.6", "peft==0.1.2", "accelerate==7.8.9"} <= {*lines}
    assert next(n for n in lines if "safetensors" in n).endswith(libraries.ONLY_PINNED)
    assert "torch==1.2.3 --index-url" in zipped.read("261120-7f3a-package/README.md").decode()


TOLD = {"torch": "3", "peft": "1\n-i http://elsewhere", "tokenizers": "<b>"}


def test_the_golden_answers_own_versions_go_before_those_of_the_measuring(tmp_path: Path) -> None:
    folder = RunFolder(f"file://{tmp_path}", "j")
    assert libraries.told(folder) == {}
    folder.write_json("measurements/machine.json", {"versions": {"torch": "2", "trl": "1"}})
    folder.write_jsonl(delivered.GOLDEN, [{"id": "g", "settings": {"versions": TOLD}}])
    assert libraries.told(folder) == {"torch": "3", "trl": "1"}
    assert libraries.required(folder) == {}
    folder.write_json(delivered.PACKAGES, {"regex": "5.0", "torch": "0", "-r x": "1", "y": "; z"})
    assert libraries.required(folder) == {"regex": "5.0", "torch": "0"}
    assert libraries.told(folder)["torch"] == "3"


def test_every_library_that_a_report_or_a_package_names_is_pinned() -> None:
    pinned = read_pins(libraries.PINS.read_text())
    named = {*collect.LIBRARIES, *delivered.LIBRARIES, delivered.FOR_NF4}
    assert named <= set(pinned)
    told = dict.fromkeys(named, "1")
    assert libraries.versions(named, told) == told
