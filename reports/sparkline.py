"""A loss curve drawn by hand as SVG: for pages and artifacts that are rewritten every few seconds.

matplotlib would take a second each time; the report uses reports.charts instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from reports.escape import html

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 640, 190, 46, 10, 24
MOST_POINTS = 400
BLUE, AMBER, LINE, MUTED = "#0b5cad", "#c77700", "#dce2e8", "#5a6875"
Points = Sequence[tuple[int, float]]


def svg(losses: Points, validation: Points = (), total_steps: int = 0) -> str:
    """Training loss as a line, validation loss as diamonds; two or more losses are needed."""
    points = thin(losses)
    values = [value for _, value in (*points, *validation)]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    first, last = points[0][0], max(total_steps, points[-1][0])

    def x(step: int) -> float:
        return round(LEFT + (step - first) / max(1, last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(10 + (high - value) / spread * (HEIGHT - BOTTOM - 20), 1)

    line = " ".join(f"{x(step)},{y(value)}" for step, value in points)
    rules = "".join(_rule(y(value), value) for value in (high, (high + low) / 2, low))
    marks = "".join(
        f'<path d="M{x(step)} {y(value) - 5}l5 5l-5 5l-5 -5z" fill="{AMBER}"/>'
        for step, value in validation
    )
    foot = HEIGHT - 7
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html(alt(losses))}" font-family="sans-serif" font-size="11">{rules}'
        f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2" '
        f'stroke-linejoin="round"/>{marks}'
        f'<text x="{LEFT}" y="{foot}" fill="{MUTED}">step {first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{foot}" fill="{MUTED}" text-anchor="end">step {last}</text>'
        "</svg>"
    )


def alt(losses: Points) -> str:
    """The curve in words."""
    (first, start), (last, end) = losses[0], losses[-1]
    return f"Training loss {start:.2f} at step {first}, {end:.2f} at step {last}"


def _rule(height: float, value: float) -> str:
    return (
        f'<path d="M{LEFT} {height}H{WIDTH - RIGHT}" stroke="{LINE}"/>'
        f'<text x="{LEFT - 6}" y="{height + 4}" fill="{MUTED}" text-anchor="end">{value:.2f}</text>'
    )


def thin(points: Points, most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """At most `most` means of equal stretches: long runs stay light."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    parts = [points[a:b] for a, b in pairwise(edges)]
    return [(part[-1][0], sum(v for _, v in part) / len(part)) for part in parts]
