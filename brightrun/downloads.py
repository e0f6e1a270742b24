"""How often shared files were fetched, by the access logs that S3 writes when it is told to.

    counts = by_place(read("s3://logs/shares/", since))      # {"bucket/prefix/share/file": 3}

A log comes hours after the request and need not be complete: the numbers are "at least".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import unquote

from brightrun.errors import StorageError

FETCHED = "REST.GET.OBJECT"
# Field, "quoted field" or [time], in the order of Amazon's server access log format.
FIELD = re.compile(r'"[^"]*"|\[[^\]]*\]|\S+')
BUCKET, TIME, ADDRESS, OPERATION, KEY, STATUS = 1, 2, 3, 6, 7, 9
NAMED = re.compile(r"(\d{4}-\d\d-\d\d)-\d\d-\d\d-\d\d-")  # a log's name begins with its time


def by_place(lines: Iterable[str]) -> dict[str, int]:
    """Fetches by "bucket/key". Parts that one address asks for on one day are one fetch: readers of
    PDF ask for a file in parts."""
    whole: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    parts: set[tuple[str, str, str]] = set()
    for line in lines:
        fields = FIELD.findall(line)
        if len(fields) <= STATUS or fields[OPERATION] != FETCHED:
            continue
        place = f"{fields[BUCKET]}/{unquote(fields[KEY])}"
        visit = (place, fields[ADDRESS], fields[TIME][1:12])
        if fields[STATUS] == "200":
            whole[place] += 1
            seen.add(visit)
        elif fields[STATUS] == "206":
            parts.add(visit)
    whole.update(place for place, *_ in parts - seen)
    return dict(whole)


def read(url: str, since: datetime) -> Iterator[str]:
    """Lines of the logs below an fsspec URL written since then; StorageError when it refuses."""
    import fsspec

    first = f"{since - timedelta(days=1):%Y-%m-%d}"
    try:
        files, root = fsspec.url_to_fs(url)
        for name in sorted(files.find(root)):
            dated = NAMED.search(PurePosixPath(name).name)
            if dated is None or dated[1] >= first:
                yield from files.read_text(name, encoding="utf-8", errors="replace").splitlines()
    except Exception as error:  # noqa: BLE001 each storage has its own tree of them
        raise StorageError(
            f"the access logs below {url} cannot be read: {type(error).__name__}",
            fix="check BRIGHTRUN_SHARE_LOGS and the keys that may read there",
        ) from None
