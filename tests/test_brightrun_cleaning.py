"""What goes from storage, and what is left of a client that is forgotten."""

from __future__ import annotations

import errno
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from commands import inside

from brightrun import cleaning, nightreport
from brightrun.adapters import Stage
from brightrun.budget import Threshold
from brightrun.errors import ConfigurationError, StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.ledger_reports import FileFacts
from brightrun.ledger_schema import metadata
from brightrun.ledger_schema_delivery import shares
from brightrun.ledger_shares import ShareRow
from brightrun.notify import Message
from brightrun.people import Route
from brightrun.retention import Ended, Policy, removable
from brightrun.runfolder import RunFolder
from brightrun.settings import load
from brightrun.shelves import shelf_of

NOW = datetime.now(UTC)
PARTS = {"": 1000, "checkpoints": 600}


@pytest.mark.parametrize(
    ("status", "days", "stage", "shared", "what"),
    [
        ("completed", 6, "stored", False, None),
        ("completed", 8, "production", False, "checkpoints"),
        ("failed", 8, "", False, None),
        ("failed", 31, "", False, "checkpoints"),
        ("completed", 366, "stored", False, ""),
        ("completed", 366, "production", False, "checkpoints"),
        ("completed", 366, "stored", True, None),
        ("paused", 366, "", False, None),
    ],
)
def test_what_ended_long_ago_may_go(
    status: str, days: int, stage: str, shared: bool, what: str | None
) -> None:
    ended = NOW - timedelta(days=days)
    job = Ended(job_id="j1", status=status, finished_at=ended, stage=stage, shared=shared)
    found = removable(job, PARTS, Policy(), NOW)
    assert [removal.what for removal in found] == ([] if what is None else [what])


def ended(
    ledger: Ledger, name: str, client: str, days: int, file: str = "secret.json"
) -> RunFolder:
    """A completed job with a checkpoint, a sample and two dollars on its bill."""
    at = NOW - timedelta(days=days)
    wish = JobRequest(training_file=file, client=client, notes="a private word")
    ledger.create_job(name, wish, at=at)
    ledger.add_attempt(
        name, 1, provider="local", market="spot", pod_name=name, usd_per_hour=Decimal(1),
        launched_at=NOW,
    )  # fmt: skip
    ledger.end_attempt(name, 1, NOW, "done", cost_usd=Decimal(2))
    folder = RunFolder(ledger.settings.storage, name)
    folder.write_bytes("checkpoints/step-00000001/weights", b"x" * 5000)
    folder.write_bytes("data/train.jsonl", b"a private word")
    ledger.update_job(name, status=Status.completed, finished_at=at, run_folder=folder.url)
    return folder


def test_cleaning_shows_first_and_removes_on_demand(home: Path) -> None:
    ledger = Ledger.open(load())
    old, new = ended(ledger, "old", "", 9), ended(ledger, "new", "", 1)
    shown = inside(home, "clean", "--json").json
    assert [(r["job_id"], r["what"]) for r in shown["removals"]] == [("old", "checkpoints")]
    assert shown["freed_bytes"] >= 5000
    assert shown["stored_bytes"] > shown["freed_bytes"]
    assert old.exists("checkpoints/step-00000001/weights")
    assert inside(home, "clean", "--yes").code == 0
    assert not old.exists("checkpoints/step-00000001/weights")
    assert old.exists("data/train.jsonl")
    assert new.exists("checkpoints/step-00000001/weights")
    assert inside(home, "clean", "--json").json["removals"] == []


def test_a_job_that_was_gone_on_with_or_is_driven_since_the_plan_is_left_alone(home: Path) -> None:
    ledger = Ledger.open(load())
    folders = {name: ended(ledger, name, "", 9) for name in ("idle", "again", "driven")}
    found, _ = cleaning.plan(ledger, Policy(), NOW)
    assert len(found) == 3
    ledger.update_job("again", status=Status.running)
    ledger.claim("driven", "another", pid=os.getppid())
    gone = cleaning.carry_out(ledger, found, Policy(), NOW)
    assert [removal.job_id for removal in gone] == ["idle"]
    left = {name for name, folder in folders.items() if folder.exists("checkpoints")}
    assert left == {"again", "driven"}
    assert ledger.job("idle").claim is None
    assert inside(home, "clean", "--yes", "--json").json["skipped"] == ["driven"]
    assert "gone on with since: driven" in inside(home, "clean", "--yes").err
    (said,) = ledger.events("idle", 0, "choice")
    assert said.payload["message"].startswith("removed checkpoints: ")


def share(ledger: Ledger, job_id: str, expires: datetime) -> Path:
    """A report on the shelf."""
    file = ledger.settings.home / "report.pdf"
    file.write_bytes(b"a private word")
    shelf = shelf_of(ledger.settings)
    place = shelf.place(f"s-{job_id}", file.name)
    shelf.put(file, place, expires)
    ledger.add_share(
        ShareRow(
            f"s-{job_id}", job_id, "report", "Bea", "Ann", NOW, expires, None, shelf.name, place,
            "", "", "", "", "", "", "", None, 0, None,
        )
    )  # fmt: skip
    return Path(place)


def test_an_open_link_is_revoked_first_and_an_expired_one_leaves_no_file(home: Path) -> None:
    ledger = Ledger.open(load())
    ended(ledger, "a", "Acme", 1)
    old, new = share(ledger, "a", NOW - timedelta(1)), ended(ledger, "b", "Bolt", 1)
    live = share(ledger, "b", NOW + timedelta(1))
    cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    assert not old.exists()
    with pytest.raises(ConfigurationError, match="s-b") as told:
        cleaning.forget(ledger, "Bolt", "Ann", NOW, dry_run=False)
    assert "shares revoke" in told.value.fix
    assert live.exists()
    assert new.exists("data/train.jsonl")


def test_what_was_revoked_long_ago_elsewhere_does_not_stop_forgetting(home: Path) -> None:
    ledger = Ledger.open(load())
    ended(ledger, "a", "Acme", 1)
    share(ledger, "a", NOW - timedelta(1))
    with ledger.write() as c:
        c.execute(shares.update().values(place="/elsewhere/s-a/report.pdf"))
    ledger.revoke_share("s-a", NOW)
    cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    assert ledger.job("a").client != "Acme"


def test_words_that_other_clients_use_too_stay_in_their_letters(home: Path) -> None:
    ledger, at = Ledger.open(load()), datetime(2026, 11, 20, tzinfo=UTC)
    for job_id, client in (("a", "Acme"), ("b", "Bolt")):
        wish = JobRequest(training_file=f"/{client}/train.jsonl", name="test", client=client)
        ledger.create_job(job_id, wish, at=at)
        ledger.update_job(job_id, status=Status.completed)
    letter = Message(title="Bolt: test", lines=("File: train.jsonl",), links=())
    route = Route(channel="email", address="ann@example.org", due=at)
    ledger.put_out("test:gate", letter.model_dump(), [route], job_id="b", at=at)
    cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    kept = ledger.take_due(at)
    assert kept is not None
    assert (kept.message["title"], kept.message["lines"]) == ("Bolt: test", ["File: train.jsonl"])


def test_a_page_that_cannot_be_removed_is_told_and_the_client_still_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(load())
    ended(ledger, "a", "Acme", 1)
    pages = home / "reports" / "a"
    pages.mkdir(parents=True)
    removed = shutil.rmtree

    def refused(place: Path, **how: object) -> None:
        if place == pages:
            raise PermissionError(errno.EACCES, "Permission denied")
        removed(place)

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(StorageError, match="cannot be removed: Permission denied"):
        cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    assert ledger.job("a").client == "Acme"
    monkeypatch.undo()
    cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    assert not pages.exists()


def test_a_forgotten_client_leaves_money_and_no_word(home: Path) -> None:
    ledger = Ledger.open(load())
    gone, other = ended(ledger, "a", "Acme", 1), ended(ledger, "b", "Bolt", 1, "bolt.json")
    ledger.register_adapter("a", "secret.json", "x", "y")
    ledger.move_adapter("a", Stage.production, by="Ann", reason="the best")
    ledger.set_month_limit(f"{NOW:%Y-%m}", Decimal(50), set_by="Ann", client="Acme")
    ledger.save_template("usual", {"client": "Acme", "training_file": "secret.json"}, by="Ann")
    theirs = [home / name for name in ("reports/a", "packages/a", "package-a-x1", "fetched/7")]
    ours = [home / name for name in ("reports/b", "packages/b", "package-b-x1", "fetched/8")]
    for place in theirs + ours:
        place.mkdir(parents=True)
    old = home / "packages" / "a-package.zip"
    old.write_bytes(b"zip")
    for name, row in (("secret.json", "7"), ("bolt.json", "8")):
        copy = home / "fetched" / row / "training.json"
        ledger.register_file(name, copy, {}, "0" * 64)
    shown = inside(home, "client", "forget", "Acme", "--json").json
    assert (shown["jobs"], shown["adapters_in_use"], shown["done"]) == (["a"], ["a"], False)
    assert gone.exists("data/train.jsonl")
    spent = ledger.spent_this_month(NOW)
    said = inside(home, "client", "forget", "Acme", "--yes", "--by", "Ann")
    assert "the books of the month" in said.out
    assert not Path(gone.root).exists()
    assert not any(place.exists() for place in [*theirs, old])
    assert all(place.exists() for place in ours)
    assert other.exists("data/train.jsonl")
    assert ledger.spent_this_month(NOW) == spent == 4
    row = ledger.job("a")
    told = f"{row} {ledger.adapters()} {ledger.by_client(NOW)} {ledger.adapter_moves()}"
    told += str(ledger.templates())
    assert "Acme" not in told
    assert "secret" not in told
    assert "private" not in told
    assert row.client.startswith("forgotten-")
    assert ledger.audit_log(NOW - timedelta(1), NOW + timedelta(1))[-1].action == "forget client"
    assert inside(home, "client", "forget", "Acme", "--yes").code == 1


def everywhere(ledger: Ledger) -> str:
    """All that stands in the ledger, table by table."""
    with ledger.read() as c:
        return "\n".join(f"{t.name} {row}" for t in metadata.sorted_tables for row in c.execute(
            t.select()))  # fmt: skip


def test_no_table_knows_a_forgotten_client(home: Path, tmp_path: Path) -> None:
    """Whoever looks for its name, its files' or a word that was written about it finds nothing."""
    ledger, at = Ledger.open(load()), datetime(2026, 11, 20, tzinfo=UTC)
    own = {f"{what}_file": f"/x/secret-{what}" for what in ("scenarios", "questions", "prompts")}
    wish = JobRequest(
        training_file="secret", name="a secret name", client="Acme", notes="private",
        template="acme", adapter="/x/secret-adapter", beside=("old=/x/secret-old",), **own,
    )  # fmt: skip
    ledger.create_job("a", wish, at=at)
    ledger.update_job("a", status=Status.completed, error={"message": "secret"})
    other = JobRequest(training_file="open.json", client="Bolt", notes="of ours")
    ledger.create_job("b", other, at=at)
    ledger.update_job("b", status=Status.completed)
    ledger.add_approval(
        "a", approved=True, approver="Ann", note="private", override_budget=False, at=at
    )
    facts = {"conversations": 8, "pairs": 4, "valid": True}
    for name in ("secret", "open"):
        ledger.register_file(name, tmp_path / f"{name}.json", facts, "s")
    ledger.set_month_limit("2026-11", Decimal(50), set_by="Ann", note="Acme pays", client="Acme")
    ledger.set_month_limit("2026-11", Decimal(99), set_by="Ann", note="more, as ACME pays")
    limit = Threshold(Decimal(1), None)
    ledger.set_threshold("Acme", warn=limit, approve=limit, set_by="Ann", note="private to Acme")
    ledger.record_alert("2026-11 for Acme of $50.00", "80", "Acme: 80 % spent")
    ledger.record_alert("a", "limit", "a secret name is dear")
    ledger.save_template("acme", wish.model_dump(mode="json"), by="Ann", notes="for Acme")
    ledger.save_template("ours", other.model_dump(mode="json"), by="Ann", notes="not for Acme")
    lines = ("Ended: a a secret name: completed", "Ended: b: completed")
    letter = Message(title="The day of Acme", lines=lines, links=(("secret", "http://x"),))
    route = Route(channel="email", address="ann@example.org", due=at)
    ledger.put_out("2026-11 for Acme:80", letter.model_dump(), [route], job_id="b", at=at)
    files = [
        {"name": "secret", "action": "trained", "job_id": "a", "why": "private"},
        {"name": "secret", "action": "skip", "why": "unchanged"},
        {"name": "open", "action": "skip", "why": "unlike secret"},
        {"name": "closed", "action": "skip", "why": "unchanged"},
    ]
    ledger.begin_night("2026-11-20", at)
    ledger.end_night("2026-11-20", nightreport.report("2026-11-20", files), at)
    for scope, job_id, client, subject in (
        ("2026-11-acme", None, "Acme", {"month": "2026-11"}),
        ("runs-1", None, "Acme, Bolt", {"jobs": ["a", "b"]}),
        ("a", "a", "Acme", {"note": "private"}),
    ):
        taken = ledger.reserve_report(
            scope, "cost", job_id=job_id, client=client, title="a secret name", subject=subject
        )
        made = {f"{scope}.pdf": FileFacts("0", 1)}
        ledger.issue_report(
            taken.report_id, fingerprint="", folder=f"{home}/reports/{scope}", engine="", made=made
        )
    words = re.compile("acme|secret|private", re.IGNORECASE)
    assert len(words.findall(everywhere(ledger))) > 40
    assert inside(home, "client", "forget", "Acme", "--yes", "--by", "Ann").code == 0
    assert [line for line in everywhere(ledger).split("\n") if words.search(line)] == []
    JobRequest.model_validate(ledger.job("a").request)  # it can still be shown
    assert ledger.job("b").notes == "of ours"
    assert [row.name for row in ledger.templates()] == ["ours"]
    assert [row.name for row in ledger.files()] == ["open"]
    (night,) = ledger.last_nights()
    assert night.report is not None
    assert [file["name"] for file in night.report["files"]] == [
        "forgotten", "forgotten", "open", "closed",
    ]  # fmt: skip
    sent = ledger.take_due(at)
    assert sent is not None
    assert sent.message["lines"] == ["forgotten", "Ended: b: completed"]


def test_a_client_with_a_job_that_runs_is_not_forgotten(home: Path) -> None:
    ledger = Ledger.open(load())
    ended(ledger, "a", "Acme", 1)
    ledger.create_job("b", JobRequest(training_file="f", client="Acme"))
    done = inside(home, "client", "forget", "Acme", "--yes")
    assert done.code == 1
    assert "brightrun cancel JOB" in done.err
    assert ledger.job("a").client == "Acme"


def test_a_client_whose_ended_job_is_just_gone_on_with_is_not_forgotten(home: Path) -> None:
    ledger = Ledger.open(load())
    folder = ended(ledger, "a", "Acme", 1)
    ledger.claim("a", "another", pid=os.getppid())
    with pytest.raises(ConfigurationError, match="have not ended: a"):
        cleaning.forget(ledger, "Acme", "Ann", NOW, dry_run=False)
    assert folder.exists("data/train.jsonl")
    claim = ledger.job("a").claim
    assert claim is not None
    assert claim.driver == "another"
