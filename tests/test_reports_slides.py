"""Client slides as web page and PowerPoint, and the one-pager that claims only what passed."""

from __future__ import annotations

import itertools
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import report_samples
from test_reports_render import HOSTILE, Page, hostile, pages_of

from brightrun.errors import ReportError
from brightrun.verdicts import Issue, MetricName, ReportData
from reports import deck, onepager, package, packagetexts, powerpoint, slides, summary
from reports.render import Rendered

ISSUE = Issue(report_id="demo-slides-3", version=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """HOSTILE in every field that a model, a file or a person can fill."""
    data = hostile().model_copy(update={"issue": ISSUE})
    return slides.make(data, tmp_path_factory.mktemp("slides"))


def slides_of(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        names = [n for n in archive.namelist() if re.fullmatch(r"ppt/slides/slide\d+\.xml", n)]
        return [archive.read(name).decode() for name in names]


def texts(xml: str) -> str:
    return " ".join(node.text or "" for node in ElementTree.fromstring(xml).iter() if node.text)


def test_hostile_text_is_shown_on_slides_and_does_nothing(made: Rendered) -> None:
    source = made.html.read_text(encoding="utf-8")
    page = Page(source)
    assert page.tags.count("script") == 2
    assert source.count("<script>alert(1)") == 0
    assert "alert(1)" in page.text
    assert not any(name.startswith("on") for name, _ in page.attributes)
    for name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/", "#")), value[:60]
    whole = " ".join(texts(xml) for xml in slides_of(made.of(".pptx")))
    assert "<script>alert(1)</script>" in whole
    assert "root:" not in whole
    assert "root:" not in page.text


def test_every_slide_carries_its_stamp_and_every_picture_its_words(made: Rendered) -> None:
    found = slides_of(made.of(".pptx"))
    assert len(found) > 10
    described = []
    for xml in found:
        assert "report demo-slides-3" in texts(xml)
        assert made.fingerprint[:16] in xml
        described += re.findall(r'<p:cNvPr descr="([^"]*)"', xml)
    assert len(described) == 4
    assert all(len(alt) > 30 and not alt.startswith("data:") for alt in described)
    page = Page(made.html.read_text(encoding="utf-8"))
    alts = [value for name, value in page.attributes if name == "alt"]
    assert len(alts) == 4
    assert "report demo-slides-3" in page.text


def test_nothing_on_a_slide_lies_on_its_stamp_or_on_something_else(made: Rendered) -> None:
    pictures = 0
    for xml in slides_of(made.of(".pptx")):
        root = ElementTree.fromstring(xml)
        spans = {}
        for shape in root.iter():
            if shape.tag.endswith(("}sp", "}pic")):
                name = next(n.get("name") for n in shape.iter() if n.tag.endswith("}cNvPr"))
                at = [n for n in shape.iter() if n.tag.endswith(("}off", "}ext")) and n.attrib]
                if len(at) == 2 and "y" in at[0].attrib:
                    top = int(at[0].attrib["y"])
                    spans[str(name).split(" ")[0]] = (top, top + int(at[1].attrib["cy"]))
        assert "TextBox" not in spans, "a caption would repeat the picture's words"
        order = [spans[name] for name in ("Picture", "Sentences", "Stamp") if name in spans]
        pictures += "Picture" in spans
        for above, below in itertools.pairwise(order):
            assert above[1] <= below[0]
        assert order[-1][1] <= 5_143_500
    assert pictures == 4


def test_text_for_more_than_a_slide_goes_on_with_the_next() -> None:
    long = "word " * 400
    found = powerpoint.paged((deck.Slide("Limits", ("One.", long, "Last."), command="next"),))
    assert len(found) == 5
    assert {slide.title for slide in found} == {"Limits"}
    assert [slide.command for slide in found] == ["", "", "", "", "next"]
    whole = " ".join(point for slide in found for point in slide.points)
    assert whole.split() == ["One.", *long.split(), "Last."]


def test_the_presentation_names_its_report_to_verify(made: Rendered) -> None:
    from brightrun.verifying import claimed_id

    assert claimed_id(made.of(".pptx")) == "demo-slides-3"
    assert claimed_id(made.html) == "demo-slides-3"


def test_a_deck_says_what_was_not_measured_and_shows_a_loss() -> None:
    found = deck.deck(report_samples.sample())
    points = [point for slide in found for point in slide.points]
    assert "EI claim: not measured." in points
    assert any("among the worst" in point for point in points)
    assert any(slide.command.startswith("brightrun rate export") for slide in found)
    assert not any("Assumptions stated" in point for point in points)


def test_what_must_be_read_first_is_the_first_slide() -> None:
    flags = ("The judge disagreed with the raters.",)
    evaluation = report_samples.evaluation().model_copy(update={"flags": flags})
    first = deck.deck(report_samples.sample(evaluation=evaluation))[0]
    assert (first.title, first.points) == ("Read this first", flags)


def test_a_smoke_test_is_called_one_in_every_format() -> None:
    data = report_samples.sample(meaningful=False, smoke=True)
    said = (
        " ".join(slides.lines(data)),
        summary.banners(data),
        package.summary_text(data),
        *(packagetexts.fill(
            name, packagetexts.words(data, {}, {}, torch="2", golden=1, adapter={})
          ).decode()
          for name in ("README.md", "MODEL-CARD.md")),
    )  # fmt: skip
    for text in said:
        assert "smoke test" in text.lower()
        assert "test model" not in text.lower()


def passing(*metrics: MetricName, **more: object) -> ReportData:
    """The sample with these metrics passed, and no other one failed."""
    evaluation = report_samples.evaluation()
    verdicts = tuple(
        v.model_copy(update={"target_met": "pass" if v.metric in metrics else "inconclusive",
                             **(more if v.metric in metrics else {})})
        for v in evaluation.verdicts
    )  # fmt: skip
    changed = evaluation.model_copy(update={"verdicts": verdicts})
    return report_samples.sample(evaluation=changed, issue=ISSUE)


def test_the_one_pager_claims_only_what_passed_with_sample_and_interval(tmp_path: Path) -> None:
    data = passing(MetricName.perplexity, MetricName.safety)
    flagged = data.evaluation.model_copy(update={"flags": ("Two questions were lost.",)})
    made = onepager.make(data.model_copy(update={"evaluation": flagged}), tmp_path)
    sheets = pages_of(made.pdf)
    assert len(sheets) == 1
    for text in (sheets[0], Page(made.html.read_text(encoding="utf-8")).text):
        assert "−17.8%" in text
        assert "Read this first Two questions were lost." in text
        assert "6 held-out conversations" in text
        assert "−21.4% to −13.9%" in text
        assert "Knowledge" not in text
        assert "2 of 5 targets met" in text
        assert "demo-slides-3" in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (passing(), r"missing: Perplexity: inconclusive; Emotional intelligence \(EI\): inconc"),
        (passing(MetricName.perplexity, exploratory=True), "Perplexity: not in the plan"),
        (passing(MetricName.perplexity).model_copy(update={"meaningful": False}), "test model"),
    ],
)
def test_nothing_is_sold_that_did_not_pass(tmp_path: Path, data: ReportData, said: str) -> None:
    with pytest.raises(ReportError, match=said):
        onepager.make(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_safety_gate_forbids_every_claim(tmp_path: Path) -> None:
    data = passing(MetricName.perplexity)
    verdicts = tuple(
        v.model_copy(update={"target_met": "fail"}) if v.metric is MetricName.safety else v
        for v in data.evaluation.verdicts
    )
    failed = data.model_copy(
        update={"evaluation": data.evaluation.model_copy(update={"verdicts": verdicts})}
    )
    with pytest.raises(ReportError, match="has not passed the safety gate"):
        onepager.make(failed, tmp_path)


def test_a_hostile_name_stays_a_name_on_the_one_pager(tmp_path: Path) -> None:
    data = passing(MetricName.perplexity).model_copy(update={"name": HOSTILE, "client": HOSTILE})
    made = onepager.make(data, tmp_path)
    assert "script" not in Page(made.html.read_text(encoding="utf-8")).tags
    assert len(pages_of(made.pdf)) == 1
