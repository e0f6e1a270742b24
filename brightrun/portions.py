"""How a large file goes to S3 and comes back: in few and small portions at a time.

s3fs by itself holds ten of 50 MB in memory, which a machine that drives many jobs has not.
"""

from __future__ import annotations

from typing import Any

PORTION = 16 << 20  # bytes
AT_ONCE = 6
MOST = 10_000  # of one object, by S3's rules


def portions(fs: Any, size: int = 0) -> dict[str, int]:
    """Arguments for fsspec's put_file and get_file of `size` bytes; other storages know none."""
    if not {"s3", "s3a"} & {*([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)}:
        return {}
    return {"chunksize": max(PORTION, -(-size // MOST)), "max_concurrency": AT_ONCE}
