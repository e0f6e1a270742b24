"""A pod's storage keys: for one job and some hours where the storage can make such, else told."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jwt
import pytest
from fakes.sts import ROLE, sts
from runpod_rentals import account, job_on, provider

from brightrun import podcredentials
from brightrun.errors import ConfigurationError
from brightrun.following import out_of_keys
from brightrun.settings import Settings

KEYS = {"pod_storage_key_id": "AKmaker", "pod_storage_secret": "maker-s3cret"}
S3 = "s3://bucket/root"


def settings(**more: Any) -> Settings:
    return Settings(**{**KEYS, "pod_storage_role": ROLE, **more})


def test_each_pod_gets_a_session_that_reaches_its_job_alone_and_ends() -> None:
    with sts("AKmaker") as fake:
        known = settings(pod_storage_sts=fake.url, pod_storage_seconds=7200)
        found = podcredentials.of(known, S3, "job-1", "br-job-1-1-abc-o123456")
    plain = {name: value.get_secret_value() for name, value in found.items()}
    assert plain == {
        "AWS_ACCESS_KEY_ID": "ASIAfake", "AWS_SECRET_ACCESS_KEY": "made-s3cret",
        "AWS_SESSION_TOKEN": "made-token",
    }  # fmt: skip
    (asked,) = fake.asked
    assert (asked["DurationSeconds"], asked["RoleSessionName"]) == (
        "7200",
        "br-job-1-1-abc-o123456",
    )
    objects, listing = json.loads(asked["Policy"])["Statement"]
    assert objects["Resource"] == ["arn:aws:s3:::bucket/root/jobs/job-1/*"]
    assert "s3:*" not in objects["Action"]
    allowed = listing["Condition"]["StringLike"]["s3:prefix"]
    for prefix, fits in (("root/jobs/job-1/", True), ("root/jobs/job-1/attempts/1", True),
                         ("root/jobs/job-11/", False), ("root/", False), ("", False)):  # fmt: skip
        assert any(fnmatchcase(prefix, pattern) for pattern in allowed) is fits, prefix
    assert podcredentials.warning(known, S3) == ""
    assert podcredentials.lifetime(known, S3) == timedelta(minutes=110)


def test_a_role_that_does_not_trust_these_keys_is_told_before_anything_is_rented() -> None:
    with sts("somebody") as fake, pytest.raises(ConfigurationError, match="AccessDenied") as told:
        podcredentials.of(settings(pod_storage_sts=fake.url), S3, "job-1", "br-x")
    assert "maker-s3cret" not in str(told.value)


def test_a_role_that_is_no_arn_is_told_as_that_and_not_waited_for() -> None:
    with sts("AKmaker") as fake, pytest.raises(ConfigurationError, match="'pods' is not the name"):
        podcredentials.of(
            settings(pod_storage_sts=fake.url, pod_storage_role="pods"), S3, "job-1", "br-x"
        )
    assert fake.asked == []


def test_with_supabases_secret_each_pod_gets_a_token_of_its_job_that_ends() -> None:
    secret = "a project's JWT secret, thirty-two letters"
    known = settings(pod_storage_role="", pod_storage_signing=secret, pod_storage_seconds=7200)
    found = podcredentials.of(known, S3, "job-1", "br-x")
    assert found["AWS_ACCESS_KEY_ID"].get_secret_value() == "AKmaker"
    token = found["AWS_SESSION_TOKEN"].get_secret_value()
    claims = jwt.decode(token, secret, algorithms=["HS256"])
    assert (claims["role"], claims["brightrun_job"]) == ("brightrun_pod", "job-1")
    assert 7100 < claims["exp"] - time.time() <= 7200
    assert secret not in str({name: one.get_secret_value() for name, one in found.items()})
    assert podcredentials.warning(known, S3) == ""
    assert podcredentials.lifetime(known, S3) == timedelta(minutes=110)


def test_without_a_role_the_keys_go_as_they_are_and_it_is_said(tmp_path: Path) -> None:
    plain = settings(pod_storage_role="")
    found = podcredentials.of(plain, S3, "job-1", "br-x")
    assert {name: value.get_secret_value() for name, value in found.items()} == {
        "AWS_ACCESS_KEY_ID": "AKmaker", "AWS_SECRET_ACCESS_KEY": "maker-s3cret",
    }  # fmt: skip
    assert "BRIGHTRUN_POD_STORAGE_ROLE" in podcredentials.warning(plain, S3)
    assert podcredentials.warning(settings(pod_storage_role="", pod_storage_token="t"), S3) == ""
    assert podcredentials.warning(plain, tmp_path.as_uri()) == ""
    assert podcredentials.lifetime(plain, S3) is None
    assert podcredentials.scope("s3://b", "j") == ("b", "jobs/j")


def test_a_pod_makes_room_for_one_with_new_keys_before_its_own_end(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake), pod_storage_url=S3, pod_storage_role=ROLE)
        pod = job.ledger.add_attempt(
            "job-1", 1, provider="runpod", market="spot", pod_name="br-1",
            usd_per_hour=Decimal(1), launched_at=fake.clock.now(),
        )  # fmt: skip
        fake.clock.sleep(11.8 * 3600)
        out_of_keys(job, pod)
        assert job.folder.stop_request() is None
        fake.clock.sleep(0.1 * 3600)
        out_of_keys(job, pod)
    asked = job.folder.stop_request()
    assert asked is not None
    assert (asked["reason"], asked["by"]) == ("switch", "storage keys that end soon")
