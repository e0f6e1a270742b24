"""The credentials that a pod gets for the storage: as little as the storage can give.

With a role (BRIGHTRUN_POD_STORAGE_ROLE) they are made for this attempt by STS AssumeRole: a session
policy leaves one job's prefix, and they expire. Amazon's and MinIO's STS speak it. Without a role
the pod gets the keys of the settings as they are; plain keys are told as a warning. With a Supabase
project's JWT secret (BRIGHTRUN_POD_STORAGE_SIGNING) a session token is signed here instead, which
row level security (deployments/supabase/storage.sql) leaves one job's prefix.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlparse

from pydantic import SecretStr

from brightrun.errors import ConfigurationError
from brightrun.settings import Settings

LONGEST_SECONDS = 43_200  # of a role's session, by Amazon
STS_SECONDS = 10
# A pod saves and goes so long before its session ends, and the next one gets another session.
MARGIN = timedelta(minutes=10)


def policy(bucket: str, prefix: str) -> dict[str, Any]:
    """A session policy: the objects below `prefix` (without a last slash) and their list. Pure."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject",
                           "s3:AbortMultipartUpload"],
                "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*"],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/*", f"{prefix}"]}},
            },
        ],
    }  # fmt: skip


def scope(url: str, job_id: str) -> tuple[str, str]:
    """(bucket, prefix of the job) of an s3:// storage. Pure."""
    place = urlparse(url)
    root = place.path.strip("/")
    return place.netloc, f"{root}/jobs/{job_id}" if root else f"jobs/{job_id}"


def of(settings: Settings, url: str, job_id: str, name: str) -> dict[str, SecretStr]:
    """AWS_* for the pod called `name`, whose storage is at `url`.

    ConfigurationError: STS refuses. An STS that is away raises as a storage does that is away.
    """
    fixed = {
        "AWS_ACCESS_KEY_ID": settings.pod_storage_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.pod_storage_secret,
        "AWS_SESSION_TOKEN": settings.pod_storage_token,
    }
    given = {key: value for key, value in fixed.items() if value is not None}
    if url.startswith("s3:") and (secret := settings.pod_storage_signing) is not None:
        until = datetime.now(UTC) + timedelta(seconds=settings.pod_storage_seconds)
        return {**given, "AWS_SESSION_TOKEN": signed(secret, job_id, until)}
    if not url.startswith("s3:") or not settings.pod_storage_role:
        return given
    return assumed(settings, given, *scope(url, job_id), name)


def lifetime(settings: Settings, url: str) -> timedelta | None:
    """So long a pod may work with what it got; None: as long as it likes."""
    made = settings.pod_storage_role or settings.pod_storage_signing
    if not url.startswith("s3:") or not made:
        return None
    return timedelta(seconds=min(LONGEST_SECONDS, settings.pod_storage_seconds)) - MARGIN


def warning(settings: Settings, url: str) -> str:
    """Why the credentials are more than this job needs; "" = they are not."""
    made = settings.pod_storage_role or settings.pod_storage_signing
    if not url.startswith("s3:") or made or settings.pod_storage_token:
        return ""
    return (
        "the pod's storage keys do not expire and may reach more than this job: give a role "
        "(BRIGHTRUN_POD_STORAGE_ROLE) or a session token (_TOKEN) where the storage has them, or "
        "keys that may touch jobs/ only"
    )


def signed(secret: SecretStr, job_id: str, until: datetime) -> SecretStr:
    """A session token of Supabase for one job, as deployments/supabase/storage.sql expects it."""
    import jwt

    claims = {
        "role": "brightrun_pod",
        "brightrun_job": job_id,
        "sub": str(uuid.uuid5(uuid.NAMESPACE_URL, f"brightrun:{job_id}")),
        "exp": until,
    }
    return SecretStr(jwt.encode(claims, secret.get_secret_value(), algorithm="HS256"))


def assumed(
    settings: Settings, given: dict[str, SecretStr], bucket: str, prefix: str, name: str
) -> dict[str, SecretStr]:
    """One session of the role, limited to the prefix. given: who asks; {}: as this machine does."""
    import botocore.session  # with fsspec's s3 extra: 0.3 s
    from botocore.config import Config
    from botocore.exceptions import ClientError, ParamValidationError

    def plain(key: str) -> str | None:
        return given[key].get_secret_value() if key in given else None

    client = botocore.session.Session().create_client(
        "sts",
        region_name=settings.pod_storage_region or "us-east-1",
        endpoint_url=settings.pod_storage_sts or settings.pod_storage_endpoint or None,
        aws_access_key_id=plain("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=plain("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=plain("AWS_SESSION_TOKEN"),
        config=Config(connect_timeout=STS_SECONDS, read_timeout=STS_SECONDS,
                      retries={"max_attempts": 2}),
    )  # fmt: skip
    try:
        answer = client.assume_role(
            RoleArn=settings.pod_storage_role,
            RoleSessionName=name[:64],
            Policy=json.dumps(policy(bucket, prefix)),
            DurationSeconds=min(LONGEST_SECONDS, settings.pod_storage_seconds),
        )["Credentials"]
    except ParamValidationError:
        raise ConfigurationError(
            f"{settings.pod_storage_role!r} is not the name of a role",
            cause="BRIGHTRUN_POD_STORAGE_ROLE is mistyped",
            fix="give its ARN, like arn:aws:iam::123456789012:role/NAME; nothing was rented",
        ) from None
    except ClientError as error:
        if int(error.response["ResponseMetadata"]["HTTPStatusCode"]) >= 500:
            raise
        raise ConfigurationError(
            f"the storage gives no session of {settings.pod_storage_role}: "
            f"{error.response['Error']['Code']}",
            cause="the role does not trust these keys, or its longest session is shorter",
            fix="mend the role, or BRIGHTRUN_POD_STORAGE_SECONDS; nothing was rented",
        ) from None
    return {
        "AWS_ACCESS_KEY_ID": SecretStr(answer["AccessKeyId"]),
        "AWS_SECRET_ACCESS_KEY": SecretStr(answer["SecretAccessKey"]),
        "AWS_SESSION_TOKEN": SecretStr(answer["SessionToken"]),
    }
