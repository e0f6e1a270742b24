"""Secrets in tracked files: by the shapes that vendors gave their keys.

The files as they are now; what history held is `git log -S`. A fault names place and kind,
never the value. A key without a shape of its own (a plain password) is not found by this.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from audit.found import Found

WHAT = "secrets in tracked files"
# Kind -> words of which one must be there (cheap to look for), and the whole shape.
SHAPES = {
    "private key": (
        ("PRIVATE KEY-----",),
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\s|\\n)*[A-Za-z0-9+/=]{40,}",
    ),
    "Amazon access key": (("AKIA", "ASIA"), r"\bA[KS]IA[0-9A-Z]{16}\b"),
    "Slack token": (("xox",), r"\bxox[abeoprs]-\d[\w-]{15,}"),
    "Slack webhook": (
        ("hooks.slack.com",),
        r"hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}",
    ),
    "Hugging Face token": (("hf_",), r"\bhf_[A-Za-z0-9]{30,}\b"),
    "GitHub token": (
        ("gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_"),
        r"\b(?:gh[oprsu]_[A-Za-z0-9]{36}|github_pat_\w{50,})",
    ),
    "RunPod key": (("rpa_",), r"\brpa_[A-Za-z0-9]{30,}\b"),
    "Supabase key": (("sb_secret_", "sbp_"), r"\b(?:sb_secret_[\w-]{22,}|sbp_[0-9a-f]{40}\b)"),
    "OpenAI or Anthropic key": (("sk-",), r"\bsk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{32,}"),
    "Google key": (("AIza",), r"\bAIza[\w-]{35}\b"),
    "PyPI token": (("pypi-AgE",), r"\bpypi-AgE[\w-]{50,}"),
    "signed web token": (("eyJ",), r"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}"),
    # A host with a dot: neither loopback nor the short ones of examples.
    "password in a URL": (
        ("://",),
        r"://[^\s/:@\"'`]+:[^\s/@\"'`$<{]{6,}@(?!(?:127|0)\.[\d.]+\b|(?:[\w-]+\.)*example\b)[\w-]+\.\w",
    ),
}


def secrets_in(text: str) -> Iterator[tuple[int, str]]:
    """(line, kind) of everything that has the shape of a secret. Pure."""
    for kind, (words, shape) in SHAPES.items():
        if any(word in text for word in words):
            for hit in re.finditer(shape, text):
                yield text.count("\n", 0, hit.start()) + 1, kind


def tracked(root: Path) -> list[Path] | None:
    """Files that git knows below root; None where git cannot say."""
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    names = done.stdout.decode(errors="surrogateescape").split("\0")
    return None if done.returncode else [root / name for name in names if name]


def look(root: Path) -> Found:
    """Every tracked file below root, those of bytes too."""
    files = tracked(root)
    if files is None:
        return Found(WHAT, "not checked", f"git does not say what it tracks in {root}")
    there = [file for file in files if file.is_file()]
    faults = [
        f"{file.relative_to(root)}:{line}: {kind}"
        for file in there
        for line, kind in secrets_in(file.read_bytes().decode("latin-1"))
    ]
    if faults:
        said = f"{len(faults)}: take them out, and revoke each: history keeps it"
        return Found(WHAT, "fail", said, tuple(faults))
    return Found(WHAT, "ok", f"none in {len(there)} files")
