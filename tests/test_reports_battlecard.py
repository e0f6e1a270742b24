"""The battlecard: sourced, dated cells beside our verdicts; what nobody looked up is unknown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import report_samples
from test_reports_render import Page, pages_of

from brightrun.errors import ConfigurationError, ReportError
from brightrun.rivals import Answer, read
from brightrun.verdicts import MetricName
from reports import battlecard
from reports.escape import clean

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "battlecard.toml"
HOSTILE = "<script>alert(1)</script> $x$ #read(1) `a` | b"


def test_every_cell_is_sourced_dated_or_unknown_in_both_formats(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    text = EXAMPLE.read_text().replace("Publishes no evaluation of its data", HOSTILE)
    file.write_text(text.replace("In-house team", "Team $5 or $6"))
    made = battlecard.make(read(file), report_samples.sample(), tmp_path)
    page = Page(made.html.read_text(encoding="utf-8"))
    (sheet,) = pages_of(made.pdf)
    for shown in (page.text, sheet):
        assert "alert(1)" in shown
        assert "Partly: Improved from 13.47 to 11.07" in shown
        assert "2 March 2026 (older than 180 days: look again)" in shown
        assert "Validation report of job demo-20261120-7f3a" in shown
        assert "unknown" in shown
    assert "script" not in page.tags
    (alt,) = [value for name, value in page.attributes if name == "alt"]
    assert clean("Example Data Ltd.: unknown, Team $5 or $6: partly") in alt


@pytest.mark.parametrize(
    ("changes", "answer"),
    [({"target_met": "pass"}, Answer.yes),
     ({"target_met": "pass", "exploratory": True}, Answer.unknown),
     ({"target_met": "fail", "improved": True}, Answer.partly),
     ({"target_met": "fail", "improved": False}, Answer.no),
     ({"target_met": "inconclusive", "improved": None}, Answer.unknown),
     ({"target_met": "not_measured", "improved": True}, Answer.unknown)],
)  # fmt: skip
def test_our_answer_is_what_the_verdict_carries(changes: dict[str, object], answer: Answer) -> None:
    found = next(v for v in report_samples.verdicts() if v.metric is MetricName.perplexity)
    assert battlecard.answer_of(found.model_copy(update=changes)) is answer


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("seen = 2026-11-20\n\n[[questions]]", "\n[[questions]]", "seen: Field required"),
     ('source = "First call with the client"', "", "source: Field required"),
     ('rivals."In-house team"', 'rivals."Nobody"', "answers for 'Nobody'"),
     ("[questions.ours]", 'metric = "safety"\n[questions.ours]', "`metric` answers for us")],
)  # fmt: skip
def test_a_cell_without_source_or_day_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    file = tmp_path / "card.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=said):
        read(file)


def test_a_day_to_come_and_a_test_model_are_refused(tmp_path: Path) -> None:
    card = read(EXAMPLE)
    first = card.questions[0]
    cell = first.rivals["Example Data Ltd."]
    later = cell.model_copy(update={"seen": cell.seen + timedelta(days=40000)})
    asked = first.model_copy(update={"rivals": {"Example Data Ltd.": later}})
    with pytest.raises(ReportError, match="has not come yet"):
        battlecard.make(
            card.model_copy(update={"questions": (asked,)}), report_samples.sample(), tmp_path
        )
    with pytest.raises(ReportError, match="nothing may be claimed"):
        battlecard.make(card, report_samples.sample(meaningful=False), tmp_path)
