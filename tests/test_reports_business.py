"""What a report says beside its measurements: the client's figures, the brand, interpretations."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import report_samples

from brightrun import brand, figures
from brightrun.errors import ConfigurationError
from brightrun.verdicts import EvidenceKind, Mark, MetricName, Table
from evals.highlights import marks
from evals.sources import load_lexicons
from reports import assurances, before_after, benefit, judgements, meaning, validation, words
from reports.escape import Markdown

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def case(**changes: object) -> figures.Case:
    one = figures.Benefit(name="a", per_month=100, usd_each=10, assumed_change=0.1)
    facts = {"price_usd": 600, "months": 12, "stated_by": "Ann", "benefits": (one,), **changes}
    return figures.worth(figures.Figures.model_validate(facts))


def test_break_even_is_the_price_over_the_months() -> None:
    found = case()
    assert found.rows[0].usd_per_month == pytest.approx(100)
    assert found.needed_usd_per_month == pytest.approx(50)
    assert found.rows[0].break_even == pytest.approx(0.05)
    assert found.months_to_earn == pytest.approx(6)
    assert found.net_usd == pytest.approx(600)


def test_running_costs_count_before_the_price() -> None:
    found = case(running_usd_per_month=100)
    assert found.months_to_earn is None
    assert found.needed_usd_per_month == pytest.approx(150)
    assert found.net_usd == pytest.approx(-600)


def test_a_break_even_beyond_everything_is_not_reachable() -> None:
    assert case(price_usd=100_000).rows[0].break_even is None


def test_figures_are_printed_as_assumptions_and_only_when_given() -> None:
    shown = benefit.section(figures.read(EXAMPLES / "figures.toml"))
    assert "Assumptions, not measurements" in shown
    assert "stated by J. Chen, Harbor &amp; Pine on 2026-11-20" in shown
    assert "Assumptions" not in benefit.section(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price_usd = 1\nstated_by = 'x'\n[[benefits]]\nname = 'a'\nper_month = -3\n"
         "usd_each = 1\nassumed_change = 0.1", "line 5, benefits.1.per_month"),
        ("price_usd = 'much'\nstated_by = 'x'\nbenefits = []", "line 1, price_usd"),
        ("price_usd = ", "is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_figure_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "f.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        figures.read(file)


def test_the_example_brand_is_whole_and_known_words_only() -> None:
    found = brand.read(EXAMPLES / "brand.toml")
    assert words.words(found)["summary"] == "In short"
    assert brand.contrast(found.colours.primary, "#FFFFFF") > brand.LEAST_CONTRAST


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("logo.svg", b"<svg><script>1</script></svg>", "scripts"),
        ("logo.svg", b"<svg onload='x'/>", "scripts"),
        ("logo.gif", b"GIF", "is no .png"),
        ("logo.png", b"x" * 300_001, "300,001 bytes"),
        ("absent.png", None, "cannot be read"),
    ],
)
def test_a_logo_is_a_small_and_passive_picture(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    file = tmp_path / "brand.toml"
    file.write_text(f'logo = "{name}"')
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        brand.read(file)


def test_a_report_does_not_call_itself_german_while_its_sentences_are_english(
    tmp_path: Path,
) -> None:
    file = tmp_path / "brand.toml"
    file.write_text('lang = "de"\n[strings]\nsummary = "Kurz"')
    with pytest.raises(ConfigurationError, match=r"brand\.toml, lang: .* English, not 'de'"):
        brand.read(file)
    file.write_text('lang = "en-GB"\n[strings]\nsummary = "Kurz"')
    assert brand.read(file).lang == "en-GB"


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert brand.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert brand.contrast("#0B5CAD", "#0B5CAD") == pytest.approx(1)


def test_guarantee_and_voices_stand_only_when_the_brand_has_them() -> None:
    said = words.words(brand.Brand())
    assert assurances.section(brand.Brand(), said) == ""
    voice = brand.Testimonial(quote="Calm <b>and</b> clear", who="A. Client")
    shown = assurances.section(brand.Brand(support="One year", testimonials=(voice,)), said)
    assert "Calm &lt;b&gt;and&lt;/b&gt; clear" in shown
    assert "not part of the measurement" in shown
    assert "Guarantee</dt>" not in shown


def test_nothing_is_concluded_from_an_open_verdict_or_an_index() -> None:
    by = {v.metric: v for v in report_samples.verdicts()}
    assert meaning.means(by[MetricName.emotional_intelligence]) == meaning.OPEN
    assert meaning.means(by[MetricName.knowledge_retention]) == meaning.OPEN
    voice = by[MetricName.brand_voice]
    assert voice.improved
    assert meaning.means(voice) == meaning.OPEN
    rated = voice.model_copy(update={"evidence": EvidenceKind.human})
    assert "less editing" in meaning.means(rated)
    assert "improved" not in str(meaning.table(report_samples.verdicts()).rows[1][3])


def test_marks_point_at_the_words_they_name() -> None:
    text = "You feel ashamed, and that is human.\nFirst, list your debts.\nMind the escrow."
    found = marks(text, load_lexicons())
    assert ("emotion", "ashamed") in {(m.kind, text[m.start : m.end]) for m in found}
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert marks("İ feel ashamed", load_lexicons()) == ()


def test_a_mark_is_shown_and_can_neither_break_the_page_nor_be_smuggled_in() -> None:
    html = before_after.answer_html("a <b>fear</b> here", (Mark(start=5, end=9, kind="emotion"),))
    assert html == ('<p dir="auto">a &lt;b&gt;<mark class="emotion">fear</mark>&lt;/b&gt; here</p>')
    forged = before_after.answer_html("x \ue0f0forged\ue0f3", ())
    assert "<mark" not in forged
    wide = (Mark(start=0, end=99, kind="step"), Mark(start=0, end=3, kind="step"))
    assert before_after.answer_html("a\nb", wide).count("<mark") == 0
    assert '("emotion", "fear", )' in before_after.answer_typst(
        "fear", (Mark(start=0, end=4, kind="emotion"),)
    )


def judged() -> Table:
    columns = ("scope", "name", "kind", "ratings", "scenarios", "baseline", "trained", "change",
               "change_low", "change_high", "alpha")  # fmt: skip
    rows = (
        ("overall", "overall", "human", 90, 12, 3.1, 3.9, 0.258, 0.15, 0.38, None),
        ("dimension", "validation", "human", 90, 12, 3.0, 3.9, 0.3, 0.1, 0.5, 0.61),
        ("arc", "shame_to_acceptance", "human", 9, 1, 3.0, 2.9, -0.03, None, None, None),
    )
    return Table(columns=columns, rows=rows, caption="Scores.")


def test_emotional_intelligence_is_shown_by_dimension_and_arc_once_it_was_judged() -> None:
    evaluation = report_samples.evaluation()
    assert judgements.NOBODY.split(",")[0] in judgements.section(evaluation, None, Markdown("c"))
    found = evaluation.model_copy(update={"ei": judged()})
    drawn = judgements.chart(found.ei)
    assert drawn is not None
    assert drawn.alt == (
        "Change of the EI score: Overall +25.8%; Validation +30.0%; Shame to acceptance −3.0%."
    )
    shown = judgements.section(found, drawn, Markdown("c"))
    assert "+10.0% to +50.0%" in shown
    assert "Agreement (alpha)" in shown
    assert "Evidence" not in shown  # all of one kind: the claim above says which


def test_what_must_be_read_first_stands_on_page_one_and_is_escaped() -> None:
    evaluation = report_samples.evaluation().model_copy(update={"flags": ("<b>wrong</b>",) * 6})
    shown = judgements.flags(evaluation, "First")
    assert "&lt;b&gt;wrong" in shown
    assert "And 2 more" in shown
    assert judgements.flags(report_samples.evaluation(), "First") == ""


def test_every_heading_of_a_document_is_a_word_that_a_brand_can_replace() -> None:
    room = Path(words.__file__).parent
    for template in room.glob("*.qmd"):
        lines = template.read_text(encoding="utf-8").splitlines()
        for line in (line for line in lines if line.startswith("#")):
            key = re.fullmatch(r'#+ \{\{ h\["([a-z_-]+)"\] \}\} \{#[a-z-]+\}', line)
            assert key is not None, (template.name, line)
            assert key[1] in words.WORDS, (template.name, line)
    files = (f for f in (*room.glob("*.py"), *room.glob("*.qmd")) if f.name != "words.py")
    whole = " ".join(f.read_text(encoding="utf-8") for f in files)
    used = re.findall(r"""\[["']([a-z_-]+)["']\]""", whole)
    assert set(words.WORDS) <= set(used), set(words.WORDS) - set(used)


def test_labels_of_the_brand_stand_on_the_page() -> None:
    strings = {"file": "Trainingsdatei", "targets": "Erreichte Ziele", "models": "Im Vergleich",
               "support": "Betreuung"}  # fmt: skip
    table = Table(columns=("a",), rows=((1,),))
    evaluation = report_samples.evaluation().model_copy(update={"comparison": table})
    data = report_samples.sample(
        evaluation=evaluation, brand=brand.Brand(strings=strings, support="A year")
    )
    found = validation.context(data, dict.fromkeys(validation.charts_of(data)))
    whole = " ".join(str(part) for part in found.values())
    for word in strings.values():
        assert word in whole
    assert "Training file<" not in found["cover"]
