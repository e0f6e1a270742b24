"""The `evaluate.Metric` forms work offline and agree with the pipeline's own numbers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.mark.heavy
def test_the_metrics_compute_offline_what_the_pipeline_computes(tmp_path: Path) -> None:
    # Its own process: `evaluate` pulls torch and warns in ways that are not ours.
    code = """
        from evals.hub_metrics import HeldOutPerplexity
        from evals.hub_metrics import KnowledgeRetention
        found = HeldOutPerplexity().compute(predictions=[30.0, 90.0], references=[10, 30])
        assert abs(found["perplexity"] - 2.718281828459045 ** 3) < 1e-9, found
        found = KnowledgeRetention().compute(predictions=[1, 1, 0, 1], references=[1, 1, 1, 0])
        assert found["retained"] == 1.0 and found["mcnemar_p"] == 1.0, found
        assert found["ci_low"] < 1 < found["ci_high"], found
        from evals.hub_metrics import AdviserMarkers
        from evals.gold import read
        from evals.sources import load_lexicons
        texts = ["That sounds scary. May I share one step?", "Buy bonds."]
        found = AdviserMarkers().compute(predictions=texts)
        ours = [read(text, load_lexicons()) for text in texts]
        assert found["voice_index"] == sum(item.voice.index for item in ours) / 2, found
        assert found["length"] == sum(item.markers["length"] for item in ours) / 2, found
        assert len(found) == 14, found
        print("all agree")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=240,
        env={"HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("all agree")
