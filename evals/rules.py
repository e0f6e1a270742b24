"""What plans and gates need of the statistics, without the libraries that compute them."""

from __future__ import annotations

CONFIDENCE = 0.95
POWER = 0.80
DRAWS = 10_000
MIN_CLUSTERS = 5


def max_attainable_gain(baseline: float, top: float = 5.0) -> float:
    """Largest relative gain that a scale ending at `top` allows: top/baseline - 1."""
    if not 0 < baseline <= top:
        raise ValueError(f"baseline {baseline} lies outside 0-{top:g}")
    return top / baseline - 1


def attainable_note(baseline: float, target: float, top: float = 5.0) -> str:
    """One sentence when the target lies above what the scale allows, else an empty string."""
    most = max_attainable_gain(baseline, top)
    if target <= most:
        return ""
    return f"+{target:.0%} unattainable (max +{most:.1%})".replace("%", " %")
