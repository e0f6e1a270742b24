"""Which report goes out, to whom; and what a share that failed leaves on its shelf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from report_jobs import evaluated_job
from test_reports_handing import JOB, checked, issued, proven, run, shared

from brightrun.errors import ReportError, StorageError, UsageError
from brightrun.sharing import Shared
from brightrun.shelves import Folder, Shelf, Supabase, shelf_of
from reports import handing, issuing


@pytest.mark.parametrize("what", ["report", "adapter"])
def test_a_report_that_was_made_for_somebody_else_goes_out_only_by_its_name(
    home: Path, what: str
) -> None:
    job = proven()
    issued(job)
    issued(job, audience="the board")
    ours, theirs = f"{JOB}-validation-1", f"{JOB}-validation-2"
    with pytest.raises(UsageError, match=f"{theirs} was made for 'the board'"):
        run("share", JOB, "--what", what, "--to", "Harbor")
    assert job.ledger.shares() == ()
    for to, named, found in (
        ("Harbor", ours, ours), ("Harbor", theirs, theirs), ("the board", "", theirs),
    ):  # fmt: skip
        more = ("--report", named) if named else ()
        assert shared("--what", what, "--to", to, *more)["report_id"] == found
    assert ours in run("share", JOB, "--what", what, "--report", ours).output


def test_an_adapter_leaves_with_no_report_of_an_earlier_evaluation(home: Path) -> None:
    job = proven()
    issued(job)
    now = issuing.evaluation_of(job)
    now = now.model_copy(
        update={"verdicts": tuple(v.model_copy(update={"note": "Later."}) for v in now.verdicts)}
    )
    job.folder.write_json("evals/evaluation.json", now.model_dump(mode="json"))
    job.ledger.save_evaluation(JOB, now)
    issued(job)
    first, second = f"{JOB}-validation-1", f"{JOB}-validation-2"
    with pytest.raises(ReportError, match="do not tell the same verdicts") as caught:
        run("share", JOB, "--what", "adapter", "--report", first)
    assert caught.value.cause == f"{first} tells an earlier evaluation"
    assert caught.value.fix == f"leave --report out: {second} is the newest"
    assert shared("--what", "adapter")["report_id"] == second


def test_a_package_goes_out_by_the_report_inside(home: Path) -> None:
    job = proven()
    issued(job)
    checked(job)
    issued(job, audience="the board")
    ours, theirs = f"{JOB}-validation-1", f"{JOB}-validation-2"
    assert shared("--what", "package")["report_id"] == ours
    with pytest.raises(UsageError, match=f"carries {ours}, not {theirs}"):
        run("share", JOB, "--what", "package", "--report", theirs)
    with pytest.raises(UsageError, match="no slides report"):
        run("share", JOB, "--what", "slides", "--report", ours)


@dataclass
class Dying:
    """A shelf whose process is killed as soon as the file lies there."""

    shelf: Shelf
    name = "file"
    notice = ""
    shows_html = True

    def place(self, share_id: str, name: str) -> str:
        return self.shelf.place(share_id, name)

    def put(self, file: Path, place: str, expires_at: datetime) -> None:
        self.shelf.put(file, place, expires_at)
        raise SystemExit("killed")

    def link(self, place: str, seconds: int) -> str:
        return self.shelf.link(place, seconds)

    def remove(self, place: str) -> None:
        self.shelf.remove(place)


def test_what_a_killed_share_left_on_the_shelf_is_listed_and_ends(home: Path) -> None:
    job = evaluated_job(JOB)
    issued(job)
    shelf = shelf_of(job.settings)
    wish = handing.Wish(what=Shared.report, span=timedelta(hours=1), by="Ann")
    with pytest.raises(SystemExit):
        handing.share(job, wish, Dying(shelf), datetime.now(UTC) - timedelta(hours=2))
    (row,) = job.ledger.shares()
    assert row.issued == 0
    assert Path(row.place).is_file()
    assert handing.tidy(job.ledger, shelf) == ([row.share_id], [])
    assert not Path(row.place).exists()


def test_a_share_that_could_not_be_put_anywhere_is_revoked(home: Path) -> None:
    job = evaluated_job(JOB)
    issued(job)
    shelf = Folder(home / "shares")
    shelf.root.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write"):
        handing.share(job, handing.Wish(Shared.report, timedelta(hours=1), "Ann"), shelf)
    (row,) = job.ledger.shares()
    assert (row.issued, row.state(datetime.now(UTC))) == (0, "revoked")


def test_html_is_not_put_where_it_opens_as_plain_text(home: Path) -> None:
    job = evaluated_job(JOB)
    issued(job)
    hosted = Supabase("https://abcdefgh.supabase.co", "key", "shares")
    wish = handing.Wish(Shared.report, timedelta(hours=1), "Ann", form="html")
    with pytest.raises(UsageError, match="plain text") as caught:
        handing.share(job, wish, hosted)
    assert "--as pdf" in caught.value.fix
    assert "as plain text" in hosted.notice
    own = Supabase("https://files.example.org", "key", "shares")
    assert own.shows_html
    assert "plain text" not in own.notice
    assert "--as html" in own.notice
