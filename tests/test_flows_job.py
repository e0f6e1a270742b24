"""One small job through the real command line, killed once: what must hold afterwards."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import (
    OFFLINE,
    Done,
    brightrun,
    furnish,
    inside,
    ledger,
    run_folder,
    small_file,
    steps,
    train_options,
)  # fmt: skip

from brightrun.intervals import step_interval
from brightrun.ledger import Ledger
from brightrun.runfolder import STAGES, RunFolder

pytestmark = pytest.mark.heavy

KILLED_AT = 5
KEYS = {
    "job_id", "status", "run_folder", "report_html", "report_pdf", "package", "verdicts",
    "interruptions", "resumes", "steps", "adapter_sha256", "cost_usd",
}  # fmt: skip
SECRETS = {
    "BRIGHTRUN_SLACK_TOKEN": "xoxb-planted-1111",
    "HF_TOKEN": "hf_planted_2222",
    "BRIGHTRUN_SMTP_PASSWORD": "planted-3333",
    "BRIGHTRUN_RUNPOD_API_KEY": "rpa_planted_4444",
    "SUPABASE_SECRET_KEY": "sb_secret_planted_5555",
}
# Slack is configured, and nobody listens there: a message that cannot be sent ends no job.
CHANNEL = {
    "BRIGHTRUN_SLACK_CHANNEL": "#runs",
    "BRIGHTRUN_SLACK_BASE_URL": "http://127.0.0.1:9/api/",
}


@dataclass(frozen=True)
class Finished:
    """A job that completed; `offline` = it ran in a network namespace with loopback only."""

    home: Path
    done: Done
    offline: bool

    @property
    def result(self) -> dict[str, Any]:
        return self.done.json

    @property
    def job_id(self) -> str:
        return str(self.result["job_id"])

    @property
    def folder(self) -> RunFolder:
        return run_folder(self.home, self.job_id)

    @property
    def ledger(self) -> Ledger:
        return ledger(self.home)


def namespaces_are_permitted() -> bool:
    try:
        return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def job(models: Path, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = tmp_path_factory.mktemp("job")
    home, offline = furnish(place / "home", models, migrated), namespaces_are_permitted()
    done = brightrun(
        home, "train", str(small_file(place)), *train_options(), "--interrupt-at", str(KILLED_AT),
        "--name", "One small job", "--client", "Ärzte & Söhne <x>", "--yes", "--json",
        wrap=OFFLINE if offline else (), **SECRETS, **CHANNEL,
    )  # fmt: skip
    assert done.code == 0, done.err
    return Finished(home, done, offline)


def test_stdout_is_one_json_object_with_the_promised_keys(job: Finished) -> None:
    assert set(job.result) >= KEYS
    assert job.result["status"] == "completed"
    assert job.result["steps"] == len(set(steps(job.folder, 1) + steps(job.folder, 2)))
    assert {v["metric"] for v in job.result["verdicts"]} >= {
        "perplexity", "emotional_intelligence", "knowledge_retention", "brand_voice", "safety",
    }  # fmt: skip


def test_the_job_id_is_told_first(job: Finished) -> None:
    assert job.done.err.splitlines()[0] == f"Job {job.job_id}"


def needs_namespace(job: Finished) -> None:
    if not job.offline:
        pytest.skip("not shown offline: this machine forbids network namespaces (unshare -rn)")


def test_no_network_is_needed(job: Finished) -> None:
    needs_namespace(job)
    assert job.result["status"] == "completed"


@pytest.mark.parametrize(
    "command",
    [
        ("files", "add", "FILE", "--name", "offline"), ("validate", "FILE"),
        ("estimate", "FILE", "--base-model", "tiny"), ("preview", "FILE", "--base-model", "tiny"),
        ("report", "JOB"),
    ],
)  # fmt: skip
def test_what_stands_around_a_job_needs_no_network_either(
    job: Finished, tmp_path: Path, command: tuple[str, ...]
) -> None:
    needs_namespace(job)
    known = {"FILE": str(small_file(tmp_path)), "JOB": job.job_id}
    words = [known.get(word, word) for word in command]
    done = brightrun(job.home, *words, "--json", wrap=OFFLINE)
    assert done.code == 0, done.err
    assert done.json


def test_the_interruption_is_counted_and_located(job: Finished) -> None:
    assert job.result["interruptions"] == 1
    (resume,) = job.result["resumes"]
    assert resume["killed_at"] == KILLED_AT
    assert 0 < resume["resumed_from"] < KILLED_AT


def test_a_kill_costs_at_most_one_checkpoint_interval(job: Finished) -> None:
    wished = job.folder.read_json("spec.json")["spec"]["values"]["checkpoint_steps"]
    interval = step_interval(wished, job.result["steps"])
    (resume,) = job.result["resumes"]
    assert resume["killed_at"] - resume["resumed_from"] <= interval


def test_no_step_at_or_below_the_newest_checkpoint_ran_again(job: Finished) -> None:
    """Shown by the step events on disk; the checkpoint by what the second pod found complete."""
    newest = job.folder.read_json("attempts/2/launch.json")["resumes_from"]
    first, second = steps(job.folder, 1), steps(job.folder, 2)
    assert first == list(range(1, KILLED_AT + 1))
    assert second == list(range(newest + 1, job.result["steps"] + 1))
    saved = [e.payload["step"] for e in job.folder.events(1) if e.type == "checkpoint"]
    assert newest >= max(saved)


def test_events_have_no_gap_and_no_duplicate(job: Finished) -> None:
    for attempt in (1, 2):
        on_disk = list(job.folder.events(attempt))
        assert [e.seq for e in on_disk] == list(range(1, len(on_disk) + 1))
        taken = job.ledger.events(job.job_id, attempt)
        assert [(r.seq, r.type, r.payload) for r in taken] == [
            (e.seq, e.type, e.payload) for e in on_disk
        ]


def test_replaying_the_folder_adds_nothing(job: Finished) -> None:
    before = job.ledger.event_counts(job.job_id)
    for _ in range(2):
        for attempt in (1, 2):
            assert job.ledger.ingest(job.job_id, job.folder.events(attempt)) == 0
    assert job.ledger.event_counts(job.job_id) == before


def test_every_stage_of_the_pod_has_estimate_and_elapsed(job: Finished) -> None:
    ended = {
        e.payload["name"]: e.payload
        for e in job.folder.events(2)
        if e.type == "stage" and e.payload["status"] == "finished"
    }
    assert list(ended) == list(STAGES)
    assert all(p["expected_s"] > 0 and p["elapsed_s"] >= 0 for p in ended.values())


def test_the_cost_is_the_attempts_times_the_price(job: Finished) -> None:
    pods = job.ledger.attempts(job.job_id)
    assert [p.outcome.partition(":")[0] for p in pods] == ["lost", "done"]
    exact = sum(
        (
            p.usd_per_hour * Decimal((p.ended_at - p.launched_at).total_seconds()) / 3600
            for p in pods
            if p.ended_at is not None
        ),
        Decimal(0),
    )
    paid = Decimal(str(job.result["cost_usd"]))
    assert abs(paid - exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)) < Decimal("3e-6")
    assert paid > 0


def test_the_report_is_there_as_html_and_pdf(job: Finished) -> None:
    page = Path(job.result["report_html"]).read_text(encoding="utf-8")
    assert "<html" in page
    assert job.job_id in page
    assert "Ärzte" in page
    assert "Söhne <x>" not in page  # escaped
    assert Path(job.result["report_pdf"]).read_bytes().startswith(b"%PDF-")


def unpacked(job: Finished, place: Path) -> Path:
    with zipfile.ZipFile(job.result["package"]) as archive:
        archive.extractall(place)
    (folder,) = place.iterdir()
    return folder


def test_the_package_is_what_its_checksums_say(job: Finished, tmp_path: Path) -> None:
    folder = unpacked(job, tmp_path)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert set(listed) == there - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert listed["adapter_model.safetensors"] == job.result["adapter_sha256"]


ALONE = """
import importlib.util, runpy, sys
sys.path.append({packages!r})
for name in ("brightrun", "trainer", "evals", "reports", "flows", "tasks", "expectations"):
    assert importlib.util.find_spec(name) is None, name
sys.argv = ["inference.py", *{arguments!r}]
runpy.run_path("inference.py", run_name="__main__")
"""


def test_the_unpacked_package_gives_the_golden_answers_without_the_project(
    job: Finished, tmp_path: Path
) -> None:
    """-I -S: no current folder, no .pth of an editable install, only the installed packages."""
    folder = unpacked(job, tmp_path)
    packed = json.loads((folder / "example_prompts.json").read_text())["prompts"]
    golden = {r["id"]: r["text"] for r in job.folder.read_jsonl("measurements/golden.jsonl")}
    assert {p["id"]: p["answer"] for p in packed} == golden
    asked = job.folder.read_json("plan/golden.json")["prompts"]
    assert len(golden) == len(asked) > 1
    arguments = ["--check", "--base", str(job.home / "models" / "tiny")]
    code = ALONE.format(packages=sysconfig.get_paths()["purelib"], arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=folder, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(golden)} of {len(golden)} answers are the same" in done.stdout


def test_no_planted_secret_is_found_anywhere(job: Finished, tmp_path: Path) -> None:
    unpacked(job, tmp_path / "package")
    assert not [name for name, secret in SECRETS.items() if secret in job.done.out + job.done.err]
    found = [
        (name, path)
        for root in (job.home, tmp_path)
        for path in root.rglob("*")
        if path.is_file() and "models" not in path.parts
        for name, secret in SECRETS.items()
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_a_channel_that_is_away_is_a_warning(job: Finished) -> None:
    warned = job.ledger.events(job.job_id, 0, "warning")
    # Beside it stand the alerts of cost: at this size a job always reaches 80 % of its estimate.
    assert {w.payload["code"] for w in warned} <= {"notify", "budget"}
    away = [w for w in warned if w.payload["code"] == "notify"]
    told = [w.payload["message"] for w in away]
    for what in ("started", "completed"):
        assert sum(f"job {job.job_id} {what}: " in text for text in told) == 1, told


@pytest.mark.parametrize(
    "command",
    [
        ("jobs",), ("show", "JOB"), ("events", "JOB"), ("presets",), ("files", "list"),
        ("watch", "JOB", "--once"), ("wait", "JOB"),
    ],
)  # fmt: skip
def test_every_look_gives_one_json_object(job: Finished, command: tuple[str, ...]) -> None:
    words = [job.job_id[:9] if word == "JOB" else word for word in command]
    done = inside(job.home, *words, "--json")
    assert done.code == 0, done.err
    assert done.json
    if command[0] == "show":
        assert done.json["progress"]["interruptions"] == 1
        assert done.json["progress"]["fraction"] == 1.0
        assert [a["outcome"] for a in done.json["attempts"]][1] == "done"
    if command[0] == "jobs":
        assert [j["job_id"] for j in done.json["jobs"]] == [job.job_id]
    if command[0] == "events":
        assert len(done.json["events"]) == len(job.ledger.events(job.job_id))


def test_the_result_is_shown_in_words_within_the_width(job: Finished) -> None:
    done = inside(job.home, "show", job.job_id)
    assert done.code == 0
    assert "Interrupted 1x, resumed successfully" in done.out
    assert "not measured" in done.out


def test_going_on_with_a_completed_job_changes_nothing(job: Finished) -> None:
    before = job.ledger.job(job.job_id)
    done = inside(job.home, "train", "--resume", job.job_id, "--yes", "--json")
    assert (done.code, done.json) == (0, job.result)
    assert job.ledger.job(job.job_id) == before


def test_a_finished_job_is_not_cancelled_or_approved(job: Finished) -> None:
    for words in (["cancel", job.job_id], ["approve", job.job_id, "--approver", "Ann"]):
        done = inside(job.home, *words)
        assert done.code == 1
        assert "is already completed" in done.err or "is completed, it does not wait" in done.err


def test_an_unknown_job_is_told_with_the_ids_that_come_near(job: Finished) -> None:
    near = job.job_id[:-1] + "x"
    for words in (["show", near], ["train", "--resume", near, "--yes"], ["cancel", near]):
        done = inside(job.home, *words)
        assert done.code == 1
        assert job.job_id in done.err
        assert "Traceback" not in done.err
