from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from audit import credentials

# Put together here, so that this file holds none of them.
PLANTED = {
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "A1b2" * 12,
    "Amazon access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "Slack token": "xoxb-" + "1234567890-abcdefghij",
    "Slack webhook": "https://hooks.slack.com/services/" + "T12345678/B12345678/" + "x" * 24,
    "Hugging Face token": "hf_" + "aB3" * 11,
    "GitHub token": "ghp_" + "a1B2" * 9,
    "RunPod key": "rpa_" + "A1B2" * 11,
    "Supabase key": "sb_secret_" + "a1-B2_" * 5,
    "OpenAI or Anthropic key": "sk-" + "ant-api03-" + "aB3" * 10,
    "Google key": "AIza" + "aB3-_" * 7,
    "PyPI token": "pypi-AgE" + "aB3" * 20,
    "signed web token": "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 30,
    "password in a URL": "postgresql://ann:" + "pa55word@db.host.com/ledger",
}


def test_every_kind_has_a_sample() -> None:
    assert set(PLANTED) == set(credentials.SHAPES)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_of_each_kind_is_found_in_its_line(kind: str) -> None:
    text = f"first line\nKEY = '{PLANTED[kind]}' # and more\n"
    assert list(credentials.secrets_in(text)) == [(2, kind)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "private key",
            '{"private_key": "-----BEGIN ' + "PRIVATE KEY-----\\n" + "A1b2" * 12 + '"}',
        ),
        ("password in a URL", "postgresql://ann:" + "pa55word@10.1.2.3/ledger"),
    ],
)
def test_keys_inside_json_and_hosts_by_number_are_found(kind: str, text: str) -> None:
    assert list(credentials.secrets_in(text)) == [(1, kind)]


@pytest.mark.parametrize(
    "text",
    ["xoxb-planted-1111", "postgresql://USER:PASSWORD@HOST/DATABASE", "http://u:planted@127.0.0.1:9",
     "risk-based-approach-to-every-question", "sb_secret_...", "postgresql://ann:pa55word@db.example/x",
     "https://${USER}:${TOKEN}@git.host.com/x"],
)  # fmt: skip
def test_what_only_stands_for_a_secret_is_left_alone(text: str) -> None:
    assert list(credentials.secrets_in(text)) == []


def test_only_tracked_files_count_and_no_value_is_told(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    secret = PLANTED["RunPod key"]
    (tmp_path / "untracked.env").write_text(secret)
    (tmp_path / "model.bin").write_bytes(b"\xff\x00" + secret.encode())
    subprocess.run(["git", "-C", str(tmp_path), "add", "model.bin"], check=True)
    found = credentials.look(tmp_path)
    assert (found.state, found.faults) == ("fail", ("model.bin:1: RunPod key",))
    assert secret not in repr(found)


def test_what_git_does_not_know_is_not_called_clean(tmp_path: Path) -> None:
    assert credentials.look(tmp_path).state == "not checked"


def test_this_checkout_holds_none() -> None:
    found = credentials.look(Path(__file__).resolve().parents[1])
    assert (found.faults, found.state) == ((), "ok")
