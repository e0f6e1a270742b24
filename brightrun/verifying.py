"""Whether a file is a report that was issued, byte for byte. Reads the ledger.

genuine: its sha256 is one that was written down when the report was issued.
altered: it carries the mark of a report that was issued, and its bytes are others.
unknown: neither.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from brightrun.errors import ReportError
from brightrun.ledger import Ledger
from brightrun.ledger_reports import ReportRow
from brightrun.runfolder import sha256_file

MARK = re.compile(rb"brightrun-report:([\w.-]{1,120}):([0-9a-f]{64})")
# report.json carries no mark: it names its report as it was issued.
ISSUE = re.compile(rb'"issue"\s*:\s*\{[^{}]*"report_id"\s*:\s*"([\w.-]{1,120})"')
LARGEST = 200_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """newer: the latest version of the same report for the same audience, when it is another."""

    state: Literal["genuine", "altered", "unknown"]
    sha256: str
    report: ReportRow | None = None
    name: str = ""
    newer: str = ""


def verify(ledger: Ledger, file: Path) -> Finding:
    """ReportError when the file cannot be read."""
    try:
        digest = sha256_file(file)
    except OSError as error:
        raise ReportError(
            f"{file} cannot be read: {error.strerror or error}", fix="check the path"
        ) from None
    found = ledger.report_of_file(digest)
    if found is not None:
        report, name = found
        return Finding("genuine", digest, report, name, newer_than(ledger, report))
    claimed = claimed_id(file)
    known = {r.report_id: r for r in ledger.reports()} if claimed else {}
    if claimed in known:
        return Finding("altered", digest, known[claimed], newer=newer_than(ledger, known[claimed]))
    return Finding("unknown", digest)


def claimed_id(file: Path) -> str:
    """The report id that a file says it is; "" when it says none."""
    if file.stat().st_size > LARGEST:
        return ""
    found = content(file)
    hit = MARK.search(found) or ISSUE.search(found)
    return hit[1].decode() if hit else ""


def content(file: Path) -> bytes:
    """What the mark is looked for in: the bytes, or a presentation's properties."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.startswith("docProps/")]
            return b"\n".join(archive.read(name) for name in names)
    return file.read_bytes()


def newer_than(ledger: Ledger, report: ReportRow) -> str:
    """The id of the newest version of a report, "" when this is it."""
    same = [
        r
        for r in ledger.reports(kind=report.kind)
        if r.scope == report.scope and r.audience == report.audience and r.version > report.version
    ]
    return max(same, key=lambda r: r.version).report_id if same else ""
