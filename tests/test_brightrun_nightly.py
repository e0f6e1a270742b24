"""The night: which files, which night, and whether a new adapter takes over."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from commands import brightrun, furnish, inside, small_file, train_options
from report_jobs import evaluated_job
from training_files import document, write_json

from brightrun import nightly, nightreport, successors
from brightrun.adapters import Stage
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.nightly import Decision, NightFile
from brightrun.runfolder import sha256_file
from brightrun.settings import Settings, load
from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from flows import nightly as night
from tasks import learn, nights

TWO = time(2)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("file", "action"),
    [
        (NightFile(name="f", sha256="a", trained="a", defects=("x",)), "skip"),
        (NightFile(name="f", sha256="a", trained="b"), "train"),
        (NightFile(name="f", sha256="a", trained=""), "train"),
        (NightFile(name="f", sha256="", trained="b"), "broken"),
        (NightFile(name="f", sha256="a", trained="b", defects=("no target",)), "broken"),
        (NightFile(name="f", sha256="a", trained="b", high_usd=Decimal("9.99")), "train"),
        (NightFile(name="f", sha256="a", trained="b", high_usd=Decimal("10.01")), "no_money"),
        (NightFile(name="f", sha256="a", trained="b", waits="j1"), "waits"),
    ],
)
def test_a_file_is_trained_when_it_changed_is_sound_and_fits(file: NightFile, action: str) -> None:
    found = nightly.decide(file, Decimal(10))
    assert found.action == action
    assert found.why


def test_a_missed_night_is_made_up_for_until_the_next_one_begins() -> None:
    def due(*at: int) -> str:
        return nightly.due(datetime(*at, tzinfo=UTC), TWO, BERLIN)  # type: ignore[arg-type]

    assert due(2026, 11, 23, 0, 59) == "2026-11-22"  # 01:59 in Berlin
    assert due(2026, 11, 23, 1, 0) == "2026-11-23"
    assert due(2026, 11, 23, 22, 30) == "2026-11-23"
    # Clocks go forward at 02:00 and back at 03:00: a night each, none twice.
    assert [due(2026, 3, 29, 0, 59), due(2026, 3, 29, 1, 0)] == ["2026-03-28", "2026-03-29"]
    assert [due(2026, 10, 24, 23, 59), due(2026, 10, 25, 0, 0)] == ["2026-10-24", "2026-10-25"]
    assert due(2026, 10, 25, 1, 0) == "2026-10-25"
    assert nightly.nights_between("2026-11-20", "2026-11-23") == 2
    assert nightly.nights_between(None, "2026-11-23") == 0


def verdict(
    metric: MetricName, estimate: float, half: float, met: str = "inconclusive", n: int = 50
) -> Verdict:
    return Verdict(
        metric=metric, evidence=EvidenceKind.measurement, n=n, n_clusters=n, trained=estimate,
        estimate=estimate, ci_low=estimate - half, ci_high=estimate + half,
        target_met=met,  # type: ignore[arg-type]
    )  # fmt: skip


PPL, KNOWS, SAFE = MetricName.perplexity, MetricName.knowledge_retention, MetricName.safety


def test_an_adapter_takes_over_only_when_it_is_not_worse_anywhere() -> None:
    old = (verdict(PPL, -0.30, 0.01), verdict(KNOWS, 0.97, 0.02), verdict(SAFE, 1, 0.1, "pass"))
    same = successors.compare(old, old)
    assert same.promotes
    assert MetricName.emotional_intelligence in same.unmeasured
    better = successors.compare((verdict(PPL, -0.40, 0.01), *old[1:]), old)
    assert better.promotes
    worse = successors.compare((verdict(PPL, -0.20, 0.01), *old[1:]), old)
    assert not worse.promotes
    assert {h.metric: h.word for h in worse.headlines}[PPL] == "inferior"
    vague = successors.compare((old[0], verdict(KNOWS, 0.97, 0.20), old[2]), old)
    assert {h.metric: h.word for h in vague.headlines}[KNOWS] == "inconclusive"
    unsafe = successors.compare((*old[:2], verdict(SAFE, 0.9, 0.1, "fail")), old)
    assert not unsafe.promotes


def test_what_only_one_of_them_was_measured_on_stands_in_the_way() -> None:
    old = (verdict(PPL, -0.30, 0.01), verdict(KNOWS, 0.97, 0.01))
    found = successors.compare(old[:1], old)
    assert not found.promotes
    assert "knowledge retention: not comparable (the new one was not measured)" in str(found)
    assert not successors.compare((), ()).promotes  # nothing measured proves nothing


def registered(ledger: Ledger, *names: str) -> None:
    for name in names:
        ledger.create_job(name, JobRequest(training_file="spring"))
        ledger.register_adapter(name, "spring", name * 4, "source")


def test_one_adapter_is_in_production_and_the_one_before_comes_back(home: Path) -> None:
    ledger = Ledger.open(load())
    registered(ledger, "a", "b", "c")
    for name in ("a", "b", "c"):
        ledger.move_adapter(name, Stage.production, by="Ann", reason="better")
    stages = {row.job_id: row.stage for row in ledger.adapters("spring")}
    assert stages == {"a": "archived", "b": "archived", "c": "production"}
    assert ledger.roll_back("spring", by="Ben", reason="complaint").job_id == "b"
    present = ledger.in_production("spring")
    assert present is not None
    assert present.job_id == "b"
    last = ledger.adapter_moves("spring")[-1]
    assert (last.who, last.reason, last.after) == ("Ben", "rolled back: complaint", "production")
    assert ledger.roll_back("spring", by="Ben", reason="that one too").job_id == "a"  # not c again
    for series in ("spring", "autumn"):
        with pytest.raises(ConfigurationError, match="was in production before"):
            ledger.roll_back(series, by="Ben", reason="")
    ledger.move_adapter("c", Stage.production, by="Ann", reason="it was good after all")
    assert ledger.roll_back("spring", by="Ben", reason="no").job_id == "a"
    ledger.move_adapter("a", Stage.archived, by="Ann", reason="none for now")
    assert ledger.roll_back("spring", by="Ben", reason="that one again").job_id == "a"
    with pytest.raises(ConfigurationError, match="needs who decides"):
        ledger.move_adapter("a", Stage.testing, by=" ", reason="")


def test_a_job_that_finishes_again_keeps_its_adapters_stage(home: Path) -> None:
    ledger = Ledger.open(load())
    registered(ledger, "a")
    ledger.move_adapter("a", Stage.production, by="Ann", reason="")
    assert ledger.register_adapter("a", "spring", "new", "source").stage is Stage.production


def test_a_night_is_begun_once_and_a_killed_one_does_not_block_the_next(home: Path) -> None:
    ledger, now = Ledger.open(load()), datetime.now(UTC)
    assert ledger.begin_night("2026-11-22", now)
    assert not ledger.begin_night("2026-11-22", now)
    assert ledger.begin_night("2026-11-23", now)  # the first one was never ended
    assert ledger.begin_night("2026-11-22", now, again=True)


def test_what_needs_a_person_stands_first_in_the_morning() -> None:
    found = nightreport.report("2026-11-23", [
        {"name": "a", "action": "skip", "why": "unchanged"},
        {"name": "b", "action": "trained", "stage": "testing", "job_id": "j1", "usd": 0.25,
         "why": "perplexity: inferior"},
        {"name": "c", "action": "failed", "job_id": "j2", "usd": 0.5, "why": "nan"},
    ])  # fmt: skip
    said = nightreport.message(found)
    assert said.title == "Bright Run: Night of 2026-11-23: 1 unchanged, 1 trained, 1 failed, $0.75"
    assert said.lines[0].startswith("c: failed, job j2: nan. Try again: brightrun retry j2")
    assert "brightrun adapters promote j1" in said.lines[1]
    assert said.lines[2] == "1 file unchanged"


def test_tonights_plan_is_told_without_starting_anything(
    home: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(home, models)
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="x", base_model="tiny"))
    inside(home, "template", "save", "night", "--from", "j1")
    good, gone = write_json(tmp_path / "good.json", document(8, 4)), tmp_path / "gone.json"
    for path in (good, gone):
        ledger.register_file(path.stem, path, {"conversations": 8, "pairs": 4, "valid": True}, "s")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BRIGHTRUN_NIGHTLY_TEMPLATE", "night")
        found = [nights.look.fn("2026-11-23", row.name) for row in ledger.files()]
    assert [(f.name, f.action) for f in found] == [("gone", "broken"), ("good", "train")]
    assert len(ledger.jobs(None)) == 1


def reads(ledger: Ledger, job_id: str, content: str, status: Status, **wish: object) -> None:
    request = {"training_file": "spring", **wish}
    ledger.create_job(job_id, JobRequest.model_validate(request))
    spec = {"data": {"source_sha256": content}} if content else None
    ledger.update_job(job_id, spec=spec, status=status)


def test_only_a_job_that_trains_the_file_counts_for_it(home: Path) -> None:
    """No smoke test, and no assessment of an adapter that there is."""
    ledger = Ledger.open(load())
    reads(ledger, "real", "old", Status.completed)
    reads(ledger, "smoke", "new", Status.completed, smoke=True)
    reads(ledger, "again", "new", Status.completed, assesses="real")
    reads(ledger, "smoke2", "new", Status.running, smoke=True)
    assert ledger.trained_on("spring", "/x") == "old"
    assert ledger.not_ended("spring", "/x", "new") == ""
    reads(ledger, "newest", "new", Status.awaiting_approval)
    assert ledger.not_ended("spring", "/x", "new") == "newest"
    assert ledger.not_ended("spring", "/x", "newer") == ""
    assert ledger.not_ended("autumn", "spring", "new") == "newest"  # by its path
    ledger.update_job("newest", status=Status.completed)
    assert ledger.trained_on("spring", "/x") == "new"
    assert ledger.not_ended("spring", "/x", "new") == ""
    reads(ledger, "fresh", "", Status.validating)  # it will train what lies there
    assert ledger.not_ended("spring", "/x", "newer") == "fresh"


def template(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    monkeypatch.setenv("BRIGHTRUN_NIGHTLY_TEMPLATE", "night")
    ledger.save_template("night", {"base_model": "tiny", **values}, by="Ann")


def test_a_job_of_the_same_content_that_waits_is_not_paid_for_twice(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(load())
    template(ledger, monkeypatch)
    path = write_json(tmp_path / "spring.json", document(8, 4))
    facts = {"conversations": 8, "pairs": 4, "valid": True}
    ledger.register_file("spring", path, facts, "s")
    reads(ledger, "j1", sha256_file(path), Status.awaiting_approval)
    found = nights.look.fn("2026-11-23", "spring")
    assert (found.action, "job j1" in found.why) == ("waits", True)


def test_a_long_name_and_a_bad_template_are_one_files_fault(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(load())
    template(ledger, monkeypatch)
    wish = nights.request_of(ledger, load(), "2026-11-23", "n" * 200)
    assert wish.name == f"{'n' * 100} 2026-11-23"
    template(ledger, monkeypatch, preset="gone")
    with pytest.raises(ConfigurationError, match="template 'night' cannot be used for spring"):
        nights.request_of(ledger, load(), "2026-11-23", "spring")
    path = home / "spring.json"
    write_json(path, document(8, 4))
    facts = {"conversations": 8, "pairs": 4, "valid": True}
    ledger.register_file("spring", path, facts, "s")
    assert nights.look.fn("2026-11-23", "spring").action == "broken"


def test_a_file_is_trained_for_its_own_client_not_the_templates(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one client's budget pays for another's file, and forgetting the one takes both."""
    ledger = Ledger.open(load())
    template(ledger, monkeypatch, client="Acme")
    facts = {"conversations": 8, "pairs": 4, "valid": True}
    for name in ("bolt", "moved", "new"):
        ledger.register_file(name, home / f"{name}.json", facts, "s")
    for_bolt = {"training_file": str(home / "bolt.json"), "client": "Bolt"}  # by its path
    reads(ledger, "j1", "old", Status.completed, **for_bolt)
    reads(ledger, "j2", "new", Status.completed, **{**for_bolt, "client": "Acme", "smoke": True})
    reads(ledger, "j3", "old", Status.completed, training_file="moved", client="Bolt")
    reads(ledger, "j4", "new", Status.failed, training_file="moved", client="Cord")

    def client(name: str) -> str:
        return nights.request_of(ledger, load(), "2026-11-23", name).client

    assert [client(name) for name in ("bolt", "moved", "new")] == ["Bolt", "Cord", ""]


def test_what_goes_wrong_after_a_job_was_paid_for_is_told_with_its_price(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that went meanwhile, and an adapter that was not registered, end no night."""
    ledger = Ledger.open(load())

    def paid(request: JobRequest, job_id: str, *, return_state: bool) -> None:
        ledger.create_job(job_id, request)
        at = datetime.now(UTC)
        ledger.add_attempt(
            job_id, 1, provider="local", market="spot", pod_name="p", launched_at=at,
            usd_per_hour=Decimal(1),
        )  # fmt: skip
        ledger.end_attempt(job_id, 1, at, "done", cost_usd=Decimal("0.25"))
        ledger.update_job(job_id, status=Status.completed)

    monkeypatch.setattr(night, "finetune", paid)
    monkeypatch.setattr(nights, "look", lambda _, name: Decision(name=name, action="train", why=""))
    monkeypatch.setattr(nights, "judge", nights.judge.fn)
    monkeypatch.setenv("BRIGHTRUN_NIGHTLY_TEMPLATE", "night")
    gone = night.one("2026-11-23", "spring")
    assert (gone["action"], gone["usd"]) == ("failed", 0)
    template(ledger, monkeypatch)
    found = night.one("2026-11-23", "spring")
    assert (found["action"], found["usd"]) == ("failed", 0.25)
    assert "has no registered adapter" in found["why"]


def test_the_adapter_of_a_smoke_test_is_not_registered(home: Path) -> None:
    """It learned from two conversations: nobody is to put it into production."""
    job = evaluated_job("real")
    learn.keep_adapter(job)
    (kept,) = job.ledger.adapters()
    assert (kept.job_id, kept.series, kept.source_sha256) == (
        "real", "training-file.json", job.spec.data.source_sha256,
    )  # fmt: skip
    wish = JobRequest(training_file="training-file.json", smoke=True)
    job.ledger.create_job("small", wish)
    learn.keep_adapter(JobContext(job.settings, job.ledger, "small"))
    assert len(job.ledger.adapters()) == 1


@pytest.mark.slow
def test_three_nights_changed_unchanged_and_broken(
    home: Path, tmp_path: Path, models: Path, migrated: Path
) -> None:
    """First night: both files are new. Second: nothing changed. Third: one changed, one broke."""
    furnish(home, models, migrated)
    ledger = Ledger.open(Settings(home=home))
    spring = small_file(tmp_path)
    autumn = write_json(tmp_path / "autumn.json", document(12, 4))
    for path, name in ((spring, "spring"), (autumn, "autumn")):
        assert inside(home, "files", "add", str(path), "--name", name).code == 0
    done = brightrun(home, "train", "spring", *train_options(), "--yes", "--json")
    assert done.code == 0, done.err
    first = done.json["job_id"]
    inside(home, "template", "save", "night", "--from", first, "--by", "Ann")
    inside(home, "adapters", "promote", first, "--by", "Ann", "--reason", "the first one")

    def night(day: int) -> dict[str, dict[str, str]]:
        said = brightrun(
            home, "nightly", "--at", f"2026-11-{day}T02:30", "--json",
            BRIGHTRUN_NIGHTLY_TEMPLATE="night",
        )  # fmt: skip
        assert said.code == 0, said.err
        return {file["name"]: file for file in said.json["files"]}

    one = night(20)
    assert {name: f["action"] for name, f in one.items()} == {"autumn": "trained", "spring": "skip"}
    assert one["autumn"]["stage"] == "testing"  # nothing to compare it with
    assert {f["action"] for f in night(21).values()} == {"skip"}
    write_json(spring, document(15, 4))
    autumn.write_text("{")
    third = night(22)
    assert third["autumn"]["action"] == "broken"
    assert third["spring"]["action"] == "trained"
    assert third["spring"]["compared_with"] == first
    job = ledger.job(third["spring"]["job_id"])
    assert (job.status, job.requested_by) == (Status.completed, "nightly")
    moved = ledger.adapter_moves("spring")[-1]
    assert moved.who == "nightly 2026-11-22"
    assert str(moved.after) == third["spring"]["stage"]
    assert night(22) == {}  # once
