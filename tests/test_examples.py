"""The example training file is what the project says of it."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PERSONAS = {"anxious_planner", "overwhelmed_avoider", "pragmatic_optimist"}
ARCS = {
    "confusion_to_clarity", "couple_conflict_to_alignment", "overwhelm_to_empowerment",
    "shame_to_acceptance", "hostility_to_boundary", "crisis_to_referral", "overwhelm_to_triage",
}  # fmt: skip


def test_both_files_are_what_their_source_builds(capsys: pytest.CaptureFixture[str]) -> None:
    build = runpy.run_path(str(EXAMPLES / "build.py"))
    assert build["main"](["--check"]) == 0, capsys.readouterr().err


def test_it_has_the_promised_size_personas_and_arcs() -> None:
    found = json.loads((EXAMPLES / "training-file.json").read_text(encoding="utf-8"))
    conversations = found["conversations"]
    assert len(conversations) >= 24
    scaffolds = [c["conversation_metadata"]["scaffolding"] for c in conversations]
    assert {s["persona_key"] for s in scaffolds} == PERSONAS
    assert {s["emotional_arc_key"] for s in scaffolds} == ARCS
    for one in conversations:
        pairs = one["training_pairs"]
        kinds = Counter(pair["target_response"] is None for pair in pairs)
        assert 3 <= kinds[True] <= 6
        for pair in pairs:
            words = len((pair["target_response"] or "").split())
            assert (pair["target_response"] is None) == bool(pair["turn_number"] % 2)
            assert pair["target_response"] is None or 60 <= words <= 120
