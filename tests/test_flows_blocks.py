"""Prefect's results in a bucket: the block as code, and a run's result on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from brightrun.errors import ConfigurationError
from brightrun.settings import Settings
from flows import blocks


def test_without_a_place_workers_are_told_nothing(home: Path) -> None:
    assert blocks.environment(Settings(home=home)) == {}
    there = Settings(home=home, prefect_results="s3://runs/results")
    assert blocks.environment(there) == {
        "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": "s3-bucket/brightrun-results"
    }


@pytest.mark.parametrize("place", ["runs/results", "file:///tmp", "s3://"])
def test_a_place_that_is_no_bucket_is_told(home: Path, place: str) -> None:
    with pytest.raises(ConfigurationError, match="BRIGHTRUN_PREFECT_RESULTS"):
        blocks.wanted(Settings(home=home, prefect_results=place))


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server(tmp_path / "data") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_s_result_lies_in_the_bucket_and_no_key_in_the_block(
    home: Path, bucket: S3Server
) -> None:
    from prefect import flow
    from prefect.results import get_result_store
    from prefect.settings import PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK, temporary_settings
    from prefect.testing.utilities import prefect_test_harness
    from prefect_aws import S3Bucket

    settings = Settings(home=home, prefect_results=f"s3://{BUCKET}/results")

    @flow(persist_result=True, result_serializer="json")
    def adds() -> int:
        return 40 + 2

    with prefect_test_harness(server_startup_timeout=120):
        assert blocks.lacks(settings) == f"make block {blocks.SLUG} for s3://{BUCKET}/results"
        blocks.make(settings)
        assert blocks.lacks(settings) == ""
        moved = settings.model_copy(update={"prefect_results": f"s3://{BUCKET}/other"})
        assert blocks.lacks(moved).startswith("point block")
        secrets = str(S3Bucket.load(blocks.NAME).model_dump())
        assert bucket.environment()["AWS_SECRET_ACCESS_KEY"] not in secrets
        with temporary_settings({PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: blocks.SLUG}):
            assert get_result_store() is not None
            state = adds(return_state=True)
            assert state.result() == 42
    listed = bucket.client().list_objects_v2(Bucket=BUCKET, Prefix="results/")
    assert listed["KeyCount"] == 1
