"""The programs that set a report: Quarto's CLI when it is installed, else pandoc and typst.

Quarto brings its own pandoc and typst (`quarto pandoc`, `quarto typst`), so both engines get the
same input and give the same pages. pandoc runs with --sandbox: it reads no file and no URL.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from brightrun.errors import ReportError

# Only what the template uses. No raw HTML, no TeX, no smart quotes: text stays as it is.
DIALECT = (
    "markdown_strict-raw_html+raw_attribute+backtick_code_blocks+fenced_code_attributes"
    "+header_attributes+all_symbols_escapable+yaml_metadata_block"
)
# Slides are plain Markdown in every format, so their tables are Markdown's too.
SLIDES = f"{DIALECT}+pipe_tables"
LIMIT_SECONDS = 120
STANDARD: Literal["ua-1"] = (
    "ua-1"  # PDF/UA: typst refuses a picture without words, a table without a head
)


@dataclass(frozen=True, slots=True)
class Engine:
    """How to call pandoc, and typst when it is a program (None: the typst package)."""

    name: str
    pandoc: tuple[str, ...]
    typst: tuple[str, ...] | None


def find(quarto: str | None = None) -> Engine:
    """Quarto at `quarto` or on the PATH, else the packages; ReportError when neither is there."""
    program = quarto or shutil.which("quarto")
    # PyPI's `quarto` installs no program of that name: what is on the PATH is the real CLI.
    if program:
        version = _run((program, "--version"), "").strip()
        return Engine(f"Quarto {version}", (program, "pandoc"), (program, "typst"))
    try:
        import pypandoc

        pandoc = pypandoc.get_pandoc_path()
        name = f"pandoc {pypandoc.get_pandoc_version()} and typst {metadata.version('typst')}"
    except (ImportError, OSError, metadata.PackageNotFoundError) as error:
        raise ReportError(
            f"no report engine is installed: {error}",
            fix="pip install pypandoc_binary typst, or install Quarto, then render again",
        ) from None
    return Engine(name, (pandoc,), None)


def convert(engine: Engine, document: str, to: str, dialect: str = DIALECT) -> str:
    """Markdown with raw blocks as a fragment of `to` (html5 | typst | revealjs)."""
    options = ("--sandbox", "--from", dialect, "--to", to, "--wrap", "preserve")
    return _run((*engine.pandoc, *options), document)


def powerpoint(
    engine: Engine, document: str, target: Path, reference: Path, title: str, lines: Sequence[str]
) -> None:
    """Markdown as a presentation; title and lines are plain text, pictures are data URIs."""
    shown = [part for line in lines for part in ("--metadata", f"author={line}")]
    options = ("--sandbox", "--from", SLIDES, "--to", "pptx", "--slide-level", "1")
    _run(
        (*engine.pandoc, *options, "--metadata", f"title={title}", *shown,
         "--reference-doc", str(reference), "--output", str(target)),
        document,
    )  # fmt: skip


def reference_deck(engine: Engine) -> bytes:
    """pandoc's own reference presentation."""
    return _output((*engine.pandoc, "--print-default-data-file", "reference.pptx"), "")


def raster(engine: Engine, svg: str, fonts: Sequence[Path]) -> bytes:
    """An SVG as PNG at 200 dots an inch, set by typst: PowerPoint shows no SVG by itself."""
    with tempfile.TemporaryDirectory(prefix="brightrun-") as folder:
        main, made = Path(folder) / "main.typ", Path(folder) / "out.png"
        (Path(folder) / "chart.svg").write_text(svg, encoding="utf-8")
        main.write_text(
            '#set page(width: auto, height: auto, margin: 0pt)\n#image("chart.svg", width: 560pt)'
        )
        if engine.typst is not None:
            options = [part for font in fonts for part in ("--font-path", str(font))]
            _run((*engine.typst, "compile", "--ppi", "200", *options, str(main), str(made)), "")
        else:
            import typst

            typst.compile(str(main), output=str(made), font_paths=[str(f) for f in fonts],
                          format="png", ppi=200)  # fmt: skip
        return made.read_bytes()


def typeset(engine: Engine, main: Path, pdf: Path, fonts: Sequence[Path]) -> None:
    """Compile a typst file to a tagged PDF; fonts of the system are the last resort."""
    if engine.typst is not None:
        options = [part for folder in fonts for part in ("--font-path", str(folder))]
        _run(
            (*engine.typst, "compile", "--pdf-standard", STANDARD, *options, str(main), str(pdf)),
            "",
        )
    else:
        import typst

        try:
            typst.compile(
                str(main),
                output=str(pdf),
                font_paths=[str(f) for f in fonts],
                pdf_standards=STANDARD,
            )
        except (typst.TypstError, RuntimeError) as error:
            said = str(getattr(error, "diagnostic", error)).strip()
            raise ReportError(
                f"the PDF could not be set: {said[:900]}",
                cause="a text or template that typst refuses",
                fix="the HTML report is complete; report this message with report.json",
            ) from None
    if not pdf.is_file():
        raise ReportError(
            f"{engine.name} ended without writing {pdf.name}", fix="check the disk, render again"
        )


def _run(command: Sequence[str], stdin: str) -> str:
    return _output(command, stdin).decode()


def _output(command: Sequence[str], stdin: str) -> bytes:
    try:
        done = subprocess.run(
            command,
            input=stdin.encode(),
            capture_output=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReportError(
            f"{Path(command[0]).name} could not run: {error}",
            fix="reinstall it, or pip install --force-reinstall pypandoc_binary typst",
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[:600]
        raise ReportError(
            f"{' '.join(Path(p).name for p in command[:2])} failed ({done.returncode}): {said}",
            fix="the evaluation is safe: mend the cause and render the report again",
        )
    return done.stdout
