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

from brightrun import shelter

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
        files, root = fsspec.url_to_fs(url, **shelter.hasty(url))
        dated = {name: NAMED.search(PurePosixPath(name).name) for name in files.find(root)}
        wanted = sorted(name for name, day in dated.items() if day is None or day[1] >= first)
        # All at once: a bucket's logs are very many small objects.
        for content in files.cat(wanted).values() if wanted else ():
            yield from content.decode("utf-8", errors="replace").splitlines()
    except Exception as error:  # noqa: BLE001 each storage has its own tree of them
        raise shelter.told(
            f"the access logs below {url} (BRIGHTRUN_SHARE_LOGS) cannot be read", error
        ) from None
