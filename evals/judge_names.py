"""How a judge is named: PROTOCOL:MODEL or PROTOCOL:MODEL@BASE_URL.

openai:gpt-5.1                               OpenAI itself
anthropic:claude-sonnet-4-5                  Anthropic itself
openai:qwen3-32b@http://127.0.0.1:8000/v1    anything that speaks one of the two: vLLM, Ollama
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from brightrun.errors import UsageError

HOMES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
FEWEST_FAMILIES = 2


@dataclass(frozen=True, slots=True)
class JudgeName:
    """family: who made the model, as far as its name tells; judges of one family share tastes."""

    protocol: str
    model: str
    base_url: str

    @property
    def own_server(self) -> bool:
        return self.base_url != HOMES[self.protocol]

    @property
    def family(self) -> str:
        if not self.own_server:
            return self.protocol
        return re.split(r"[^a-z]", self.model.rpartition("/")[2].lower(), maxsplit=1)[0] or "other"

    @property
    def name(self) -> str:
        """As it is printed: of an own server a hash, for the same name may be another model there
        and its address is nobody's business."""
        return f"{self.protocol}:{self.model}{self._server}"

    @property
    def _server(self) -> str:
        digest = hashlib.sha256(self.base_url.encode()).hexdigest()[:8]
        return f"@{digest}" if self.own_server else ""

    @property
    def slug(self) -> str:
        """For file names."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")


def parse(text: str) -> JudgeName:
    """UsageError says what is wrong with the name."""
    head, _, url = text.partition("@")
    protocol, colon, model = head.partition(":")
    if protocol not in HOMES or not colon or not model.strip():
        raise UsageError(
            f"--judge {text!r} names no judge",
            fix="e.g. openai:MODEL, anthropic:MODEL or openai:MODEL@http://127.0.0.1:8000/v1",
        )
    url = (url or HOMES[protocol]).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--judge {text!r}: {url!r} is no web address", fix="begin with http://")
    if parts.username or parts.password:
        raise UsageError(
            "--judge holds a user or a password in its address",
            fix="put the key into BRIGHTRUN_JUDGE_API_KEY",
        )
    return JudgeName(protocol, model.strip(), url)
