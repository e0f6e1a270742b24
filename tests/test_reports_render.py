from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pypdfium2
import pytest
import report_samples

from brightrun.errors import ReportError
from brightrun.verdicts import Example, ReportData, Table, Verdict
from reports import engines
from reports.render import Rendered, render

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> </style><style>*{}</style> "
    "````\n````\n#eval(\"1\") #read(\"/etc/passwd\") $x$ \\input{/etc/passwd} \\u{41} "
    "{{< include /etc/passwd >}} {{ cover }} {% raw %} ```{python}\nprint(1)\n``` "
    "![a](http://evil.example/x.png) [l](javascript:alert(3)) <!-- c --> ::: {.x} @cite *b* _i_ "
    "\"quotes\" 'single' \x00\x07 \u202eREVERSED مرحبا بالعالم שלום 😀👩‍👩‍👧 &amp; %s {0}"
)  # fmt: skip


SECTIONS = (
    "Verdicts", "Perplexity", "Training", "Knowledge retention", "Questions that were lost",
    "Style markers", "Brand voice", "Safety", "Before and after", "What was cut", "Training data",
    "Cost and time", "Method", "Provenance",
)  # fmt: skip
FOOTER = re.compile(r"Job demo-\S+ .*?Page \d+ of \d+")


class Page(HTMLParser):
    """Tags, attributes and text of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def pages_of(pdf: Path) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    finally:
        document.close()


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rendered, float]:
    """The report and the CPU seconds of all processes that made it."""
    began = sum(os.times()[:4])
    made = render(report_samples.sample(), tmp_path_factory.mktemp("report"))
    return made, sum(os.times()[:4]) - began


@pytest.fixture(scope="module")
def rendered(timed: tuple[Rendered, float]) -> Rendered:
    return timed[0]


@pytest.fixture(scope="module")
def page(rendered: Rendered) -> Page:
    return Page(rendered.html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sheets(rendered: Rendered) -> list[str]:
    return pages_of(rendered.pdf)


def test_it_is_small_and_quick(timed: tuple[Rendered, float]) -> None:
    rendered, cpu_seconds = timed
    assert rendered.html.stat().st_size < 2_000_000
    assert rendered.pdf.stat().st_size < 2_000_000
    # HTML and PDF, 5 s each, of the processor: whatever else runs here. It takes 1.2.
    assert cpu_seconds < 10


def test_only_the_three_files_are_left(rendered: Rendered) -> None:
    names = {path.name for path in rendered.html.parent.iterdir()}
    assert names == {"report.json", "validation-report.html", "validation-report.pdf"}


def test_report_json_renders_again_to_the_same_data(rendered: Rendered) -> None:
    text = (rendered.html.parent / "report.json").read_text(encoding="utf-8")
    assert ReportData.model_validate(json.loads(text)) == report_samples.sample()


def test_a_report_from_markers_alone_prints_no_score_out_of_five(
    page: Page, sheets: list[str]
) -> None:
    for text in (page.text, " ".join(sheets)):
        assert "EI claim: not measured" in text
        assert not re.search(r"\d\s*/\s*5\b|out of 5|of five", text)


def test_page_one_is_the_whole_summary(sheets: list[str]) -> None:
    first = sheets[0]
    for part in (
        "Empathy for first-time clients",
        "Interrupted 1x, resumed successfully",
        "1 of 5",
        "Improved from 13.47 to 11.07",
        "EI claim: not measured",
        "brightrun rate export demo-20261120-7f3a --raters 3",
        "What it cost",
        "What this report does not show",
        "The preset “demo” left out 4 things",
        "Page 1 of",
    ):
        assert part in first, part
    assert sheets[1].startswith("Verdicts")


def test_table_questions_and_chart_of_the_verdicts_stand_on_one_page(sheets: list[str]) -> None:
    for part in ("1 of 5 targets met", "Above the floor?", "Estimate (dot) with its 95% interval"):
        assert part in sheets[1], part
    assert sheets[2].startswith("What it can mean for the business")
    assert "Improved from 13.47" in sheets[2]  # no half of it is empty


def test_every_page_carries_job_report_hash_and_its_own_number(
    rendered: Rendered, sheets: list[str]
) -> None:
    for number, sheet in enumerate(sheets, 1):
        assert f"Page {number} of {len(sheets)}" in sheet
        assert "demo-20261120-7f3a" in sheet
        assert rendered.fingerprint[:16] in sheet


def test_both_formats_have_every_section_and_example(page: Page, sheets: list[str]) -> None:
    whole = " ".join(sheets)
    for text in (page.text, whole):
        for section in (*SECTIONS, "runs the same job again"):
            assert section in text, section
        assert all(f"{i}. " in text for i in range(1, 13))
        assert "5 of 12 answers of the trained model were cut off" in text
        assert "Feelings before facts 12.0 55.0 60.0 +43.0 +30.0 to +56.0" in text
        assert "lexicons.json aaaaaaaaaaaa" in text
        assert "What does a deductible of $1,000 mean" in text
        assert "brightrun train training-file.json" in text


def test_no_heading_stands_alone_at_the_end_of_a_page(sheets: list[str]) -> None:
    for sheet in sheets:
        content, footers = FOOTER.subn("", sheet)
        assert footers == 1
        assert not content.strip().endswith(SECTIONS), content[-80:]


def test_the_html_loads_nothing_and_has_no_script(page: Page) -> None:
    assert "script" not in page.tags
    assert "link" not in page.tags
    for name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/svg+xml;base64,", "#")), value[:80]


def test_pictures_have_words(rendered: Rendered, page: Page) -> None:
    alts = [value for name, value in page.attributes if name == "alt"]
    assert len(alts) == page.tags.count("img") == 4
    assert all(len(alt) > 30 for alt in alts)
    # The PDF is tagged, and its figures carry the same words.
    raw = rendered.pdf.read_bytes()
    assert b"/StructTreeRoot" in raw


def test_the_engine_is_named_in_the_report(rendered: Rendered, page: Page) -> None:
    assert rendered.engine in page.text


def test_equal_data_gives_the_same_html(rendered: Rendered, tmp_path: Path) -> None:
    again = render(report_samples.sample(), tmp_path)
    assert again.html.read_bytes() == rendered.html.read_bytes()
    assert again.fingerprint == rendered.fingerprint


def hostile() -> ReportData:
    """HOSTILE in every field that a model, file or person can fill; long and empty answers."""
    data = report_samples.sample()
    long = (HOSTILE + "\n\n") * (20_000 // len(HOSTILE) + 1)

    def filled(table: Table) -> Table:
        rows = tuple(
            tuple(HOSTILE if isinstance(cell, str) and i else cell for i, cell in enumerate(row))
            for row in table.rows
        )
        return table.model_copy(update={"rows": rows, "caption": HOSTILE})

    def example(baseline: str, trained: str) -> Example:
        return Example(
            scenario_id=HOSTILE, arc=HOSTILE, persona=HOSTILE, client_message=HOSTILE,
            baseline=baseline, trained=trained, why=HOSTILE, notes=(HOSTILE, ""),
        )  # fmt: skip

    def noted(verdict: Verdict) -> Verdict:
        return verdict.model_copy(update={"note": HOSTILE})

    found = data.evaluation
    evaluation = found.model_copy(
        update={
            "verdicts": tuple(map(noted, found.verdicts)),
            "perplexity": filled(found.perplexity).model_copy(
                update={"rows": (("conversation", HOSTILE, 1, 9, 12.0, 11.0, -0.1, None, None),)}
            ),
            "knowledge": filled(found.knowledge),
            "lost_questions": filled(found.lost_questions),
            "markers": found.markers,
            "safety": filled(found.safety),
            "examples": (
                example(long, HOSTILE), example("x" * 20_000, ""), example("", "\n\n"),
                example("مرحبا " * 2000, "😀" * 500),
            ),
            "facts": {
                HOSTILE: HOSTILE, "list": [HOSTILE], "answers": HOSTILE,
                "voice_parts": {HOSTILE: {"baseline": 0.1, "trained": HOSTILE}},
            },
        }
    )  # fmt: skip
    return data.model_copy(
        update={
            "name": HOSTILE, "client": HOSTILE, "requested_by": HOSTILE,
            "approved_by": HOSTILE, "confirmed_by": HOSTILE,
            "preset": HOSTILE, "training_file": HOSTILE, "cuts": (HOSTILE, ""),
            "provenance": {HOSTILE: HOSTILE}, "reproduce": HOSTILE, "next_command": HOSTILE,
            "price": {"usd_per_hour": 1.0, "source": HOSTILE, "as_of": HOSTILE},
            "spec": {**data.spec, "base_model": {"name": HOSTILE, "revision": HOSTILE}},
            "evaluation": evaluation, "dataset": filled(data.dataset),
            "cost": filled(data.cost), "stages": filled(data.stages),
        }
    )  # fmt: skip


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    done = render(hostile(), tmp_path)
    source = done.html.read_text(encoding="utf-8")
    page = Page(source)
    assert "script" not in page.tags
    assert page.tags.count("style") == 1
    assert page.tags.count("img") == 4
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any("javascript" in v for n, v in page.attributes if n == "href")
    assert "alert(1)" in page.text
    assert "{{< include /etc/passwd >}}" in page.text
    assert "root:" not in page.text
    assert page.text.count("(empty answer)") == 3
    assert done.html.stat().st_size < 2_000_000
    sheets = pages_of(done.pdf)
    whole = " ".join(sheets)
    assert "<script>alert(1)</script>" in whole
    assert "#read(" in whole
    assert "root:" not in whole
    assert f"Page {len(sheets)} of {len(sheets)}" in sheets[-1]


def test_a_long_answer_is_whole_in_both_formats(tmp_path: Path) -> None:
    words = [f"w{i:05d}" for i in range(3000)]
    first = report_samples.examples(1)[0].model_copy(update={"trained": " ".join(words)})
    evaluation = report_samples.evaluation().model_copy(update={"examples": (first,)})
    done = render(report_samples.sample(evaluation=evaluation), tmp_path)
    html, pdf = done.html.read_text(encoding="utf-8"), " ".join(pages_of(done.pdf))
    for text in (html, pdf):
        assert set(re.findall(r"w\d{5}", text)) == set(words)


def test_a_test_model_says_on_page_one_that_its_numbers_mean_nothing(tmp_path: Path) -> None:
    done = render(report_samples.sample(meaningful=False, interruptions=()), tmp_path)
    sheets = pages_of(done.pdf)
    assert "The numbers in this report mean nothing." in sheets[0]
    assert "What this report does not show" in sheets[0]
    assert "Interrupted" not in sheets[0]
    assert all("the numbers mean nothing" in sheet for sheet in sheets[1:])
    assert "The numbers in this report mean nothing." in done.html.read_text(encoding="utf-8")


def test_a_report_without_steps_examples_or_rows_still_renders(tmp_path: Path) -> None:
    nothing = Table(columns=(), rows=())
    bare = report_samples.evaluation().model_copy(
        update={
            "verdicts": (), "perplexity": nothing, "knowledge": nothing, "markers": nothing,
            "lost_questions": nothing, "safety": nothing, "examples": (), "facts": {},
        }
    )  # fmt: skip
    data = report_samples.sample(evaluation=bare, curve=(), cuts=(), interruptions=(), cost=nothing,
                                 stages=nothing, dataset=nothing, spec={}, next_command="", name="",
                                 client="")  # fmt: skip
    done = render(data, tmp_path)
    text = Page(done.html.read_text(encoding="utf-8")).text
    assert "No answers were generated." in text
    assert "EI claim: not measured" in text
    assert "None" not in text


def test_a_failing_engine_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "pandoc"
    broken.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 7\n")
    broken.chmod(0o755)
    engine = engines.Engine("broken", (str(broken),), None)
    with pytest.raises(ReportError, match="out of luck") as caught:
        render(report_samples.sample(), tmp_path / "out", engine=engine)
    assert caught.value.fix
    assert not (tmp_path / "out").exists()


def test_typst_errors_become_report_errors(tmp_path: Path) -> None:
    (tmp_path / "main.typ").write_text("#nonsense(")
    with pytest.raises(ReportError, match="could not be set"):
        engines.typeset(engines.find(), tmp_path / "main.typ", tmp_path / "o.pdf", [])


def test_quarto_is_used_when_it_is_installed(tmp_path: Path) -> None:
    """A stand-in with Quarto's command line (`quarto pandoc`, `quarto typst compile`)."""
    log = tmp_path / "calls"
    pandoc = engines.find().pandoc[0]
    script = tmp_path / "quarto"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        'if [ "$1" = --version ]; then echo 1.9.1; exit 0; fi\n'
        f'if [ "$1" = pandoc ]; then shift; exec {pandoc} "$@"; fi\n'
        'for last; do :; done; printf "%%PDF-1.7" > "$last"\n'
    )
    script.chmod(0o755)
    done = render(report_samples.sample(), tmp_path / "out", engine=engines.find(str(script)))
    assert done.engine == "Quarto 1.9.1"
    assert "Quarto 1.9.1" in done.html.read_text(encoding="utf-8")
    calls = log.read_text()
    assert "pandoc --sandbox" in calls
    assert "typst compile --pdf-standard ua-1 --font-path" in calls
