"""Before a pod is rented: is the image in its registry, the model at its revision on the hub?"""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import COMMIT, FakeHub
from fakes.registry import PASSWORD, USER, registry
from pydantic import SecretStr

from brightrun.reachable import Answer, image, image_name, model

NOBODY = "127.0.0.1:9"  # the discard port: no one listens


def test_an_image_is_looked_up_with_the_token_that_its_registry_asks_for() -> None:
    own = (USER, SecretStr(PASSWORD))
    with registry() as fake:
        assert image(fake.image()).reach == "there"
        assert image(fake.image(digest="sha256:" + "b" * 64)).reach == "missing"
        assert image(fake.image("others/trainer")).reach == "missing"
        assert image(fake.image("brightrun/private")) == Answer(reach="denied", said="401")
        assert image(fake.image("brightrun/private"), *own).reach == "there"
        assert len(fake.asked) == 9  # each first without a token, one was not given any
    assert image(f"{NOBODY}/brightrun/trainer@sha256:aa") == Answer(
        reach="unknown", said="ConnectError"
    )


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("ghcr.io/a/b@sha256:1", "https://ghcr.io/v2/a/b/manifests/sha256:1"),
        ("ghcr.io/a/b:v1@sha256:1", "https://ghcr.io/v2/a/b/manifests/sha256:1"),
        ("a/b@sha256:1", "https://registry-1.docker.io/v2/a/b/manifests/sha256:1"),
        ("b@sha256:1", "https://registry-1.docker.io/v2/library/b/manifests/sha256:1"),
        ("localhost:5000/b@sha256:1", "http://localhost:5000/v2/b/manifests/sha256:1"),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(reference: str, url: str) -> None:
    assert image_name(reference).url == url


def test_a_model_is_looked_up_at_its_revision(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    hub = FakeHub(tmp_path)
    try:
        assert model(hub.url, "org/tiny", COMMIT).reach == "there"
        assert model(hub.url, f"org/tiny@{COMMIT}", COMMIT).reach == "there"
        assert model(hub.url, "org/missing", COMMIT).reach == "missing"
        assert model(hub.url, "org/gated", COMMIT, SecretStr("none of its")).reach == "denied"
    finally:
        hub.server.shutdown()
        hub.server.server_close()
    assert model(f"http://{NOBODY}", "org/tiny", COMMIT).reach == "unknown"
