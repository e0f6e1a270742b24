"""Sharing: nothing without its proof, links that end, revoked and altered things refused."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import httpx
import pytest
import report_samples
from fakes import supabase_storage
from report_jobs import SHA, evaluated_job
from typer.testing import CliRunner

from brightrun.context import JobContext
from brightrun.errors import ReportError, StorageError, UsageError
from brightrun.ledger import Ledger
from brightrun.ledger_reports import FileFacts
from brightrun.runfolder import sha256_file
from brightrun.settings import CHECKOUT, load
from brightrun.sharing import Shared, closed, expiry, missing
from brightrun.shelves import Supabase, shelf_of
from flows.cli import app
from reports import archive, handing, issuing, package, render
from reports.proven import CHECKED, golden_answers
from tasks import deploying

JOB = "261120-7f3a"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def issued(job: JobContext, kind: str = "validation", audience: str = "") -> Path:
    """A report that was issued; its files are only bytes."""
    taken = job.ledger.reserve_report(job.job_id, kind, job_id=job.job_id, audience=audience)
    place = job.reports_folder / f"{kind}-{taken.version}"
    place.mkdir(parents=True)
    names = {"validation": ("validation-report.pdf", "validation-report.html", "report.json"),
             "slides": ("slides.html", "slides.pptx")}[kind]  # fmt: skip
    for name in names:
        (place / name).write_bytes(f"{taken.report_id} {name}".encode())
    if kind == "validation":
        told = issuing.evaluation_of(job)
        data = report_samples.sample(name=taken.report_id, evaluation=told)
        (place / "report.json").write_text(data.model_dump_json())
    facts = {n: FileFacts(sha256_file(place / n), (place / n).stat().st_size) for n in names}
    job.ledger.issue_report(taken.report_id, fingerprint="f", folder=str(place), engine="e",
                            made=facts)  # fmt: skip
    return place


def proven(job_id: str = JOB) -> JobContext:
    """A job whose every headline passed, with its package and adapter."""
    evaluation = report_samples.evaluation()
    passed = tuple(v.model_copy(update={"target_met": "pass"}) for v in evaluation.verdicts)
    job = evaluated_job(job_id, evaluation=evaluation.model_copy(update={"verdicts": passed}))
    furnish(job)
    return job


def furnish(job: JobContext) -> None:
    pack(job)
    adapter = job.settings.home / "made"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "adapter_config.json").write_text("{}")
    job.folder.upload_folder(adapter, "adapter", {})


def pack(job: JobContext, version: int = 1) -> None:
    """A package that carries a report and tells the verdicts that hold now."""
    evaluation = issuing.evaluation_of(job)
    said = json.dumps({"verdicts": [v.model_dump(mode="json") for v in evaluation.verdicts]})
    report = f"{job.job_id}-validation-{version} validation-report.pdf"
    files = {render.PDF: report.encode(), package.SUMMARY: said.encode()}
    made = archive.write(job.settings.home / f"{job.job_id}-package.zip", "top", files)
    job.folder.upload(made, f"package/{made.name}")


def shared(*words: str) -> dict[str, Any]:
    done = run("share", JOB, "--json", "--by", "Ann", *words)
    assert done.exit_code == 0
    return dict(json.loads(done.stdout))


def opened(link: str) -> Path:
    return Path(unquote(urlparse(link).path))


def checked(job: JobContext, same: int = 3) -> None:
    """As `brightrun package JOB --check` leaves it."""
    digest = sha256_file(Path(job.folder.path(f"package/{JOB}-package.zip")))
    job.folder.write_json(CHECKED, {"same": same, "asked": 3, "sha256": digest})


def test_a_package_goes_out_only_when_its_golden_answers_were_made_again(home: Path) -> None:
    job = proven()
    issued(job)
    with pytest.raises(
        ReportError, match="made again from the zip: `brightrun package JOB --check`"
    ):
        run("share", JOB, "--what", "package")
    checked(job, same=2)
    with pytest.raises(ReportError, match="golden answers were not made again"):
        run("share", JOB, "--what", "package")
    checked(job)
    assert shared("--what", "package")["kind"] == "package"


def scripted(job: JobContext, script: str) -> None:
    """A package whose inference.py is this one, and a prepared base model for it."""
    base = job.settings.models / "demo"
    base.mkdir(parents=True)
    (base / "prepared.json").write_text(json.dumps({"name": "demo", "sha256": SHA}))
    name = f"{job.job_id}-package.zip"
    made = archive.write(job.settings.home / name, "top", {"inference.py": script.encode()})
    job.folder.upload(made, f"package/{name}")


def test_a_new_package_makes_its_golden_answers_again_from_the_zip(home: Path) -> None:
    job = evaluated_job(JOB)
    scripted(job, "print('3 of 3 answers are the same')")
    deploying.prove(job)
    assert golden_answers(job)
    job.folder.write_json(CHECKED, {**job.folder.read_json(CHECKED), "same": 2})
    assert not golden_answers(job)


@pytest.mark.parametrize(
    ("script", "said"),
    [("print('2 of 3 answers are the same')", "1 of 3 golden answers differ"),
     ("raise SystemExit('no torch here')", "inference.py failed: no torch here")],
)  # fmt: skip
def test_a_package_that_answers_otherwise_is_told_and_the_job_stands(
    home: Path, script: str, said: str
) -> None:
    job = evaluated_job(JOB)
    scripted(job, script)
    deploying.prove(job)
    (warning,) = job.ledger.events(JOB, type="warning")
    assert said in warning.payload["message"]
    assert not golden_answers(job)


def test_a_quick_look_leaves_the_check_of_its_package_to_a_person(home: Path) -> None:
    job = evaluated_job(JOB, values={"rotations": 1})
    scripted(job, "raise SystemExit('must not run')")
    deploying.prove(job)
    assert not job.ledger.events(JOB, type="warning")
    assert not job.folder.exists(CHECKED)


def test_a_rented_pods_package_is_left_to_a_machine_of_its_kind(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_RUNPOD_API_KEY", "key")
    job = evaluated_job(JOB, provider="runpod")
    scripted(job, "raise SystemExit('must not run')")
    deploying.prove(job)
    assert not job.ledger.events(JOB, type="warning")
    page, section = re.findall(r"\((docs/\w+\.md), ([^)]+)\)", deploying.unproven(job))[0]
    assert f"\n## {section}\n" in (CHECKOUT / page).read_text()


def test_a_package_whose_verdicts_hold_no_more_is_refused_even_to_an_override(home: Path) -> None:
    job = proven()
    issued(job)
    issued(job)  # the same verdicts for another reader: the packed report is still true
    checked(job)
    assert shared("--what", "package")["report_id"] == f"{JOB}-validation-1"
    found = issuing.evaluation_of(job)
    changed = found.model_copy(update={"verdicts": found.verdicts[1:]})
    job.ledger.save_evaluation(JOB, changed)
    job.folder.write_json("evals/evaluation.json", json.loads(changed.model_dump_json()))
    with pytest.raises(ReportError, match="does not tell the verdicts"):
        run("share", JOB, "--what", "package", "--override", "Ann", "in a hurry")
    pack(job, version=2)
    checked(job)
    assert shared("--what", "package")["report_id"] == f"{JOB}-validation-2"


def test_a_package_is_made_of_the_newest_report(home: Path) -> None:
    job = proven()
    issued(job)
    base = job.settings.models / "demo"
    base.mkdir(parents=True)
    for name in package.TOKENIZER_FILES:
        (base / name).write_text("{}")
    (base / "prepared.json").write_text(json.dumps({"name": "demo", "sha256": SHA}))
    message = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    settings = {"dtype": "float32", "quantization": "none", "max_new_tokens": 9, "threads": 1}
    golden = {"id": "g1", "text": "Hello.", "settings": settings}
    job.folder.write_json("plan/golden.json", {"prompts": [{"id": "g1", "messages": message}]})
    job.folder.write_jsonl("measurements/golden.jsonl", [golden])
    job.folder.write_json("report/report.json", {"of": "version 1"})
    issued(job)
    with zipfile.ZipFile(deploying.rebuild(job, with_bin=False)) as made:
        inside = {name.partition("/")[2]: made.read(name) for name in made.namelist()}
    assert inside[render.PDF] == f"{JOB}-validation-2 validation-report.pdf".encode()
    assert f"{JOB}-validation-2" in inside["README.md"].decode()
    # What it was made of is in the run folder: this machine keeps no second copy.
    assert not list(home.glob("package*"))


def test_only_a_package_needs_golden_answers(home: Path) -> None:
    job = proven()
    issued(job)
    job.folder.remove(f"package/{JOB}-package.zip")
    assert shared("--what", "adapter")["kind"] == "adapter"
    with pytest.raises(ReportError, match="has no package"):
        run("share", JOB, "--what", "package")


def test_what_cannot_be_is_not_offered(home: Path) -> None:
    job = proven()
    with pytest.raises(UsageError, match="adapter is not shared as 'html'"):
        run("share", JOB, "--what", "adapter", "--as", "html")
    with pytest.raises(ReportError, match="report is missing") as caught:
        run("share", JOB, "--what", "adapter", "--override", "Ann", "in a hurry")
    assert "--override" not in caught.value.fix
    assert job.ledger.shares() == ()


@pytest.mark.parametrize("what", ["package", "adapter"])
def test_nothing_is_delivered_without_its_proof(home: Path, what: str) -> None:
    job = evaluated_job(JOB)
    furnish(job)
    with pytest.raises(ReportError, match=r"report is missing.*perplexity: fail.*not measured"):
        run("share", JOB, "--what", what)
    issued(job)
    with pytest.raises(ReportError, match="is not shared: perplexity: fail"):
        run("share", JOB, "--what", what)
    assert job.ledger.shares() == ()
    row = shared("--what", what, "--override", "Ann Ode", "client knows the numbers")
    assert (row["overridden_by"], row["override_reason"]) == (
        "Ann Ode", "client knows the numbers",
    )  # fmt: skip


def cut_off(job: JobContext, where: str) -> None:
    """A reassessment that found a failure and was killed before `where` had it."""
    passed = issuing.evaluation_of(job)
    failed = passed.model_copy(
        update={"verdicts": tuple(v.model_copy(update={"target_met": "fail"})
                                  for v in passed.verdicts)}
    )  # fmt: skip
    job.folder.write_json("evals/evaluation.json", json.loads(failed.model_dump_json()))
    issued(job)  # tells what the run folder tells
    if where == "run folder":
        job.folder.write_json("evals/evaluation.json", json.loads(passed.model_dump_json()))


@pytest.mark.parametrize("where", ["ledger", "run folder"])
def test_an_old_pass_lets_no_adapter_out_whose_own_report_says_fail(home: Path, where: str) -> None:
    job = proven()
    issued(job)
    cut_off(job, where)
    for more in ((), ("--override", "Ann", "in a hurry")):
        with pytest.raises(ReportError, match="do not tell the same verdicts") as caught:
            run("share", JOB, "--what", "adapter", *more)
        assert f"brightrun evaluate {JOB}" in caught.value.fix
    job.ledger.save_evaluation(JOB, issuing.evaluation_of(job))
    if where == "run folder":
        issued(job)
        assert shared("--what", "adapter")["report_id"] == f"{JOB}-validation-3"
    else:
        with pytest.raises(ReportError, match=r"is not shared: .*: fail"):
            run("share", JOB, "--what", "adapter")


def test_an_old_pass_lets_no_package_out_either(home: Path) -> None:
    job = proven()
    issued(job)
    cut_off(job, "ledger")
    pack(job, version=2)
    checked(job)
    with pytest.raises(ReportError, match="do not tell the same verdicts"):
        run("share", JOB, "--what", "package")


def test_an_override_needs_a_name_and_a_reason(home: Path) -> None:
    evaluated_job(JOB)
    with pytest.raises(UsageError, match="a name and a reason"):
        run("share", JOB, "--what", "adapter", "--override", "Ann", " ")


def test_a_proven_adapter_goes_out_for_a_day_with_its_report_inside(home: Path) -> None:
    issued(proven())
    row = shared("--what", "adapter", "--to", "Harbor & Pine")
    ends = datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"])
    assert ends == timedelta(hours=24)
    assert "no link that runs out by itself" in row["notice"]
    file = opened(row["link"])
    with zipfile.ZipFile(file) as archived:
        names = {name.partition("/")[2] for name in archived.namelist()}
    assert names == {"README.txt", "adapter_model.safetensors", "adapter_config.json",
                     "evaluation_summary.md", "validation-report.pdf", "SHA256SUMS"}  # fmt: skip
    assert "Valid until" in (file.parent / "EXPIRES.txt").read_text()
    assert sha256_file(file) == row["sha256"]


def test_a_report_that_was_changed_after_it_was_issued_is_refused(home: Path) -> None:
    place = issued(evaluated_job(JOB))
    (place / "validation-report.pdf").write_bytes(b"better numbers")
    with pytest.raises(ReportError, match="is not the file that was issued"):
        run("share", JOB)


def test_a_damaged_package_is_refused(home: Path) -> None:
    job = proven()
    issued(job)
    zipped = Path(job.folder.path(f"package/{JOB}-package.zip"))
    with zipfile.ZipFile(zipped, "a") as archived:
        archived.writestr("top/more.txt", "smuggled in")
    checked(job)
    with pytest.raises(ReportError, match="is damaged"):
        run("share", JOB, "--what", "package")


def test_a_share_is_listed_linked_again_settled_and_revoked(home: Path) -> None:
    issued(evaluated_job(JOB))
    row = shared("--to", "Ann's client", "--purpose", "second meeting")
    assert row["kind"] == "report"
    again = json.loads(run("shares", "link", row["share_id"], "--json").stdout)
    assert again["seen"] == "issued 2, downloads unknown"
    done = run("shares", "outcome", row["share_id"], "won", "--note", "signed", "--json")
    assert json.loads(done.stdout)["outcome"] == "won"
    file = opened(row["link"])
    assert file.is_file()
    run("shares", "revoke", row["share_id"])
    assert not file.parent.exists()
    with pytest.raises(ReportError, match="is revoked"):
        run("shares", "link", row["share_id"])
    listed = json.loads(run("shares", "list", "--json").stdout)["shares"]
    assert [(s["state"], s["outcome"], s["purpose"]) for s in listed] == [
        ("revoked", "won", "second meeting")
    ]
    with pytest.raises(UsageError, match="no outcome 'sold'"):
        run("shares", "outcome", row["share_id"], "sold")


def test_an_expired_share_is_taken_down_and_gets_no_new_link(home: Path) -> None:
    job = evaluated_job(JOB)
    issued(job)
    shelf = shelf_of(job.settings)
    wish = handing.Wish(what=Shared.report, span=timedelta(hours=1), by="Ann")
    row, link = handing.share(job, wish, shelf, datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(ReportError, match="is expired"):
        handing.again(job.ledger, shelf, row.share_id)
    assert handing.tidy(job.ledger, shelf) == ([row.share_id], [])
    assert not opened(link).exists()
    assert handing.tidy(job.ledger, shelf) == ([], [])  # once, not at each look
    assert job.ledger.share(row.share_id).state(datetime.now(UTC)) == "expired"


def test_what_could_not_be_removed_is_not_called_revoked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued(evaluated_job(JOB))
    row = shared("--expires", "1h")
    monkeypatch.setenv("BRIGHTRUN_SHARE_URL", f"file://{home / 'another'}")
    with pytest.raises(StorageError, match="does not lie in"):
        run("shares", "revoke", row["share_id"])
    ledger, shelf = Ledger.open(load()), shelf_of(load())
    assert ledger.share(row["share_id"]).state(datetime.now(UTC)) == "open"
    assert opened(row["link"]).is_file()
    gone, failed = handing.tidy(ledger, shelf, datetime.now(UTC) + timedelta(hours=2))
    assert (gone, len(failed)) == ([], 1)
    monkeypatch.delenv("BRIGHTRUN_SHARE_URL")
    assert handing.revoke(ledger, shelf_of(load()), row["share_id"]).revoked_at is not None
    assert not opened(row["link"]).exists()


@pytest.fixture
def storage() -> Iterator[tuple[supabase_storage.Storage, str]]:
    fake = supabase_storage.Storage()
    with supabase_storage.serving(fake) as url:
        yield fake, url


def test_a_signed_link_opens_until_it_ends_is_altered_or_revoked(
    home: Path, storage: tuple[supabase_storage.Storage, str]
) -> None:
    fake, url = storage
    job = evaluated_job(JOB)
    issued(job)
    issued(job, "slides")
    shelf = Supabase(url, supabase_storage.KEY, "shares")
    wish = handing.Wish(what=Shared.report, span=timedelta(days=30), by="Ann")
    row, link = handing.share(job, wish, shelf)
    answer = httpx.get(link)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content == f"{JOB}-validation-1 validation-report.pdf".encode()
    assert httpx.get(link[:-1] + ("0" if link[-1] != "0" else "1")).status_code == 400
    fake.ahead = timedelta(days=30, seconds=2).total_seconds()
    assert httpx.get(link).status_code == 400
    fake.ahead = 0
    # Also when another bucket is used by now: the place names its own.
    handing.revoke(job.ledger, Supabase(url, supabase_storage.KEY, "later"), row.share_id)
    assert httpx.get(link).status_code == 404
    slides = handing.Wish(what=Shared.slides, span=timedelta(days=1), by="Ann")
    shown, _ = handing.share(job, slides, shelf)
    assert shown.place.endswith("slides.pptx")  # HTML would open as plain text there
    everything = json.dumps([str(r) for r in job.ledger.shares()])
    assert "token=" not in everything
    assert supabase_storage.KEY not in everything


def test_a_refused_key_is_told_without_the_key(
    home: Path, storage: tuple[supabase_storage.Storage, str]
) -> None:
    job = evaluated_job(JOB)
    issued(job)
    shelf = Supabase(storage[1], "sb_secret_wrong", "shares")
    wish = handing.Wish(what=Shared.report, span=timedelta(days=1), by="Ann")
    with pytest.raises(StorageError, match="cannot write") as caught:
        handing.share(job, wish, shelf)
    assert "sb_secret_wrong" not in str(caught.value)
    assert "Unauthorized" not in str(caught.value)  # a vendor's words may hold links
    (row,) = job.ledger.shares()  # something may lie there: it is taken down when it expires
    assert (row.issued, row.revoked_at) == (0, None)


def test_a_mistake_of_ours_is_no_refusal_of_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Supabase("http://127.0.0.1:9", "key", "shares")
    monkeypatch.setattr(shelf, "_files", lambda bucket: None)
    with pytest.raises(AttributeError):
        shelf.link("a/b.pdf", 60)


def test_a_shelf_that_is_not_this_ones_is_not_guessed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued(evaluated_job(JOB))
    row = shared()
    monkeypatch.setenv("BRIGHTRUN_SHARE_URL", "s3://bucket/shares")
    with pytest.raises(UsageError, match="lies on file, and BRIGHTRUN_SHARE_URL names s3"):
        run("shares", "revoke", row["share_id"])


@pytest.mark.parametrize("text", ["soon", "0d", "-3d", "1y", "400d"])
def test_a_span_that_there_is_not_is_wrong_use(text: str) -> None:
    with pytest.raises(UsageError):
        expiry(text, Shared.report)


def test_spans_are_days_and_hours_and_usual_ones_stand_in_the_rules() -> None:
    assert expiry("36h", Shared.report) == timedelta(hours=36)
    assert expiry("", Shared.report) == timedelta(days=30)
    assert expiry("", Shared.package) == timedelta(hours=24)


def test_outcomes_are_counted_by_what_was_shared() -> None:
    found = closed([("slides", "lost"), ("report", "won"), ("report", ""), ("report", "won")])
    assert found == ["report: 2 won, 0 lost of 3", "slides: 0 won, 1 lost of 1"]
    assert closed([]) == []


def test_only_a_headline_with_a_target_can_forbid() -> None:
    verdicts = report_samples.verdicts()
    assert missing(Shared.report, reported=False, verdicts=verdicts) == []
    inconclusive = [v.model_copy(update={"target_met": "inconclusive"}) for v in verdicts]
    assert missing(Shared.adapter, reported=True, verdicts=inconclusive) == []
    met = inconclusive[0].model_copy(update={"target_met": "pass"})
    assert missing(Shared.adapter, reported=True, verdicts=[met]) == []
    later = met.model_copy(update={"exploratory": True})
    assert missing(Shared.adapter, reported=True, verdicts=[later]) == ["perplexity: exploratory"]
    assert missing(Shared.adapter, reported=True, verdicts=[]) == ["no headline was evaluated"]


def test_while_supabase_is_away_nothing_is_called_shared_or_taken_down_that_is_not(
    home: Path, storage: tuple[supabase_storage.Storage, str]
) -> None:
    fake, url = storage
    job = evaluated_job(JOB)
    issued(job)
    shelf = Supabase(url, supabase_storage.KEY, "shares")
    wish = handing.Wish(what=Shared.report, span=timedelta(hours=2), by="Ann")
    row, link = handing.share(job, wish, shelf)
    fake.away = True
    with pytest.raises(StorageError, match="cannot write"):
        handing.share(job, wish, shelf)
    with pytest.raises(StorageError, match="cannot sign"):
        handing.again(job.ledger, shelf, row.share_id)
    with pytest.raises(StorageError, match="cannot remove"):
        handing.revoke(job.ledger, shelf, row.share_id)
    assert {(s.share_id == row.share_id, s.issued, s.revoked_at) for s in job.ledger.shares()} == {
        (True, 1, None), (False, 0, None),
    }  # fmt: skip
    later = datetime.now(UTC) + timedelta(hours=3)
    gone, failed = handing.tidy(job.ledger, shelf, later)
    assert (gone, len(failed), len(fake.objects)) == ([], 2, 1)
    fake.away = False
    assert (
        httpx.get(handing.again(job.ledger, shelf, row.share_id)).content == httpx.get(link).content
    )
    gone, failed = handing.tidy(job.ledger, shelf, later)
    assert (row.share_id in gone, len(gone), failed) == (True, 2, [])
    assert fake.objects == {}
