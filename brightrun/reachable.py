"""Whether an image and a base model are where a pod will look for them; asked with HEAD.

Image: `HEAD /v2/NAME/manifests/DIGEST` of the registry (OCI distribution spec 1.1), with the bearer
token that its 401 asks for. Model: `HEAD /ID/resolve/REVISION/config.json` of the hub. An answer
that never came says nothing about the pod, whose network is another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from brightrun.frozen import Frozen

Reach = Literal["there", "missing", "denied", "unknown"]
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
DOCKER_HUB = "registry-1.docker.io"
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
SECONDS = 10.0


class Answer(Frozen):
    """said: the status, or why there was no answer."""

    reach: Reach
    said: str = ""


class ImageName(Frozen):
    """A reference by digest, in its parts."""

    registry: str
    repository: str
    digest: str

    @property
    def url(self) -> str:
        """Registries on loopback speak http, as docker has it."""
        here = self.registry.partition(":")[0] in ("localhost", "127.0.0.1")
        scheme = "http" if here else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.digest}"


def image_name(reference: str) -> ImageName:
    """NAME@sha256:... ; without a host it is Docker Hub's."""
    name, _, digest = reference.partition("@")
    host, _, rest = name.partition("/")
    if not rest or ("." not in host and ":" not in host and host != "localhost"):
        host, rest = DOCKER_HUB, name if rest else f"library/{name}"
    return ImageName(registry=host, repository=rest.partition(":")[0], digest=digest)


def image(reference: str, user: str = "", password: SecretStr | None = None) -> Answer:
    """Whether the registry has this image for this user (none: for everybody)."""
    name = image_name(reference)
    own = None if password is None else (user, password.get_secret_value())
    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=True) as client:
            found = client.head(name.url, headers={"Accept": MANIFESTS})
            if found.status_code == 401 and (where := token_url(found.headers, name)):
                granted = client.get(where, auth=own)
                if granted.status_code in (401, 403):
                    return Answer(reach="denied", said=f"{granted.status_code}")
                answer = granted.json()
                token = answer.get("token") or answer.get("access_token")
                found = client.head(
                    name.url, headers={"Accept": MANIFESTS, "Authorization": f"Bearer {token}"}
                )
            elif found.status_code == 401 and own is not None:
                found = client.head(name.url, headers={"Accept": MANIFESTS}, auth=own)
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        return Answer(reach="unknown", said=type(error).__name__)
    return answer_of(found.status_code)


def token_url(headers: Mapping[str, str], name: ImageName) -> str:
    """Where the challenge `Bearer realm="...",service="..."` sends us; "": it is none."""
    told = headers.get("www-authenticate", "")
    asked = dict(CHALLENGE.findall(told))
    if not told.lower().startswith("bearer") or "realm" not in asked:
        return ""
    scope = asked.get("scope", f"repository:{name.repository}:pull")
    query = {"scope": scope, **({"service": asked["service"]} if "service" in asked else {})}
    return f"{asked['realm']}?{urlencode(query)}"


def model(hub: str, name: str, revision: str, token: SecretStr | None = None) -> Answer:
    """Whether the hub gives this revision of a model, with or without @REVISION in its name, to
    the pod's token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    url = f"{hub.rstrip('/')}/{name.partition('@')[0]}/resolve/{revision}/config.json"
    try:
        found = httpx.head(url, headers=headers, timeout=SECONDS)
    except httpx.HTTPError as error:
        return Answer(reach="unknown", said=type(error).__name__)
    return answer_of(found.status_code)


def answer_of(status: int) -> Answer:
    """The hub answers 200 or a redirect to its storage for what is there. Pure."""
    said = str(status)
    if 200 <= status < 400:
        return Answer(reach="there", said=said)
    if status in (401, 403):
        return Answer(reach="denied", said=said)
    return Answer(reach="missing" if status == 404 else "unknown", said=said)
