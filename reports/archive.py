"""A zip that proves itself: equal content, equal bytes; SHA256SUMS last; checked once closed."""

from __future__ import annotations

import hashlib
import stat
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from brightrun.errors import ReportError

# zip cannot hold an earlier moment; a fixed one makes equal content equal bytes.
MOMENT = (1980, 1, 1, 0, 0, 0)
SUMS = "SHA256SUMS"
AGAIN = "build it again: `brightrun train --resume JOB`, of a completed job `brightrun package JOB`"


def write(target: Path, top: str, files: Mapping[str, bytes | Path]) -> Path:
    """Zip under a temporary name, check, rename: the final name is always a whole package."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    sums = []
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name in sorted(files):
                sums.append(f"{_add(archive, f'{top}/{name}', files[name])}  {name}\n")
            _add(archive, f"{top}/{SUMS}", "".join(sums).encode())
        verify(temporary)
        temporary.replace(target)
    except OSError as error:
        raise ReportError(
            f"cannot write {target.name}: {error.strerror or error}",
            fix="free disk space, then resume the job",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> str:
    """Add one file in pieces; returns its sha256 (hex)."""
    entry = zipfile.ZipInfo(name, MOMENT)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    # Weights hardly shrink: storing them keeps a 2 GB adapter quick.
    stored = name.endswith((".safetensors", ".pdf"))
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    digest = hashlib.sha256()
    with archive.open(entry, "w", force_zip64=True) as sink:
        if isinstance(content, bytes):
            digest.update(content)
            sink.write(content)
        else:
            with content.open("rb") as source:
                while piece := source.read(1 << 20):
                    digest.update(piece)
                    sink.write(piece)
    return digest.hexdigest()


def verify(package: Path) -> dict[str, str]:
    """Open the zip again and compare every file with SHA256SUMS; returns {name: sha256}."""
    try:
        sums, found = _sums(package)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ReportError(f"{package.name} is damaged: {error}", fix=AGAIN) from None
    differing = sorted(n for n in set(found) | set(sums) if found.get(n) != sums.get(n))
    if differing:
        raise ReportError(
            f"{package.name} is damaged: {', '.join(differing)} differ from {SUMS}", fix=AGAIN
        )
    return sums


def _sums(package: Path) -> tuple[dict[str, str], dict[str, str]]:
    """{name: sha256} as SHA256SUMS has it, and as the files are."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        if len(tops) != 1:
            raise ReportError(f"{package.name} holds {len(tops)} top folders instead of one")
        top = tops.pop()
        if f"{top}/{SUMS}" not in names:
            raise ReportError(f"{package.name} has no {SUMS}", fix=AGAIN)
        lines = archive.read(f"{top}/{SUMS}").decode().splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        found = {}
        for name in names:
            short = name.removeprefix(f"{top}/")
            if short != SUMS:
                with archive.open(name) as source:
                    found[short] = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    return sums, found
