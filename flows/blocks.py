"""Prefect's own results in the team's bucket: a block of prefect-aws, made by code, without a key.

Off unless BRIGHTRUN_PREFECT_RESULTS names a place: a run whose bucket is away when a task ends
fails, and what a job needs lies in its run folder. The keys are those of the worker's environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from brightrun.errors import ConfigurationError
from brightrun.settings import Settings

if TYPE_CHECKING:
    from prefect_aws import S3Bucket

NAME = "brightrun-results"
SLUG = f"s3-bucket/{NAME}"
VARIABLE = "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"


def environment(settings: Settings) -> dict[str, str]:
    """What a worker's runs are told; {}: results stay on the worker's disk."""
    return {VARIABLE: SLUG} if settings.prefect_results else {}


def wanted(settings: Settings) -> S3Bucket:
    """ConfigurationError: no s3://BUCKET."""
    from prefect_aws import AwsCredentials, S3Bucket

    place = urlsplit(settings.prefect_results)
    if place.scheme != "s3" or not place.netloc:
        raise ConfigurationError(
            f"BRIGHTRUN_PREFECT_RESULTS is {settings.prefect_results!r}",
            fix="write it as s3://BUCKET/PREFIX, or unset it",
        )
    return S3Bucket(
        bucket_name=place.netloc, bucket_folder=place.path.strip("/"), credentials=AwsCredentials()
    )


def lacks(settings: Settings) -> str:
    """What `make` would do at the server of PREFECT_API_URL; "" when it is there."""
    from prefect_aws import S3Bucket

    asked = wanted(settings)
    try:
        there = S3Bucket.load(NAME)
    except ValueError:  # no such document, or not even its type
        return f"make block {SLUG} for {settings.prefect_results}"
    assert isinstance(there, S3Bucket)  # called outside of async code
    same = (there.bucket_name, there.bucket_folder) == (asked.bucket_name, asked.bucket_folder)
    return "" if same else f"point block {SLUG} to {settings.prefect_results}"


def make(settings: Settings) -> None:
    """The block's type and its document; an older one is replaced."""
    block = wanted(settings)
    block.register_type_and_schema()
    block.save(NAME, overwrite=True)
