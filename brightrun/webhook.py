"""Tell the user's own application: one signed POST per event, with a versioned JSON body.

The body follows deployments/schemas/event-1.json. `X-Brightrun-Signature: t=SECONDS,v1=HEX`, where
HEX is HMAC-SHA256 over "SECONDS.BODY" with the shared secret: the receiver compares it and refuses
what is older than five minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

import httpx

from brightrun.settings import Settings

SCHEMA = "brightrun.event/1"
SIGNATURE = "X-Brightrun-Signature"
TIMEOUT_SECONDS = 20.0


def event_of(
    id_: str, kind: str, job_id: str, at: datetime, message: dict[str, Any]
) -> dict[str, Any]:
    """The body; id is the same when an event is sent again."""
    return {
        "schema": SCHEMA,
        "id": id_,
        "kind": kind,
        "at": at.isoformat(),
        "job_id": job_id or None,
        "title": message["title"],
        "lines": list(message["lines"]),
        "links": [{"text": text, "url": url} for text, url in message["links"]],
        "facts": message.get("facts", {}),
    }


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The header's value."""
    signed = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},v1={signed.hexdigest()}"


def send(settings: Settings, event: dict[str, Any], now: datetime) -> str | None:
    """POST it; what went wrong, or None. Neither URL nor secret stand in the answer."""
    secret = "" if settings.webhook_secret is None else settings.webhook_secret.get_secret_value()
    if not secret:  # an empty key would sign for anybody
        return "webhook: BRIGHTRUN_WEBHOOK_SECRET is not set"
    body = json.dumps(event, ensure_ascii=False, sort_keys=True).encode()
    headers = {
        "Content-Type": "application/json",
        SIGNATURE: signature(secret, int(now.timestamp()), body),
    }
    try:
        answer = httpx.post(
            settings.webhook_url, content=body, headers=headers, timeout=TIMEOUT_SECONDS
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"webhook: {type(error).__name__}"
    return None if answer.is_success else f"webhook: HTTP {answer.status_code}"
