"""What a validation found, for the tests of it."""

from __future__ import annotations

from brightrun.conversations import Defect, FileReport


def errors(report: FileReport) -> list[str]:
    return [defect.code for defect in report.errors]


def the(report: FileReport, code: str) -> Defect:
    found = [defect for defect in report.errors if defect.code == code]
    assert found, f"no {code} among {errors(report)}"
    return found[0]
