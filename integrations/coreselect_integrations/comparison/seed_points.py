"""A dot for each seed: the robust accuracy of every cell of a block, with the mean of its method, as SVG inside a page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from coreselect_integrations.comparison.statistics import Line, Record

LEFT, RIGHT, ROW, WIDTH = 190, 20, 20, 760  # pixels: names, margin, height of a line, whole
TICKS = 6


def seed_points(records: Sequence[Record], found: Sequence[Line]) -> str:
    """Return a picture of the accuracies by seed; empty if no method has two of them.

    Args:
        records: of the comparison.
        found: the lines of one block, whose cells are shown.
    """
    values = [(line, accuracies(records, line)) for line in found]
    if not any(len(points) > 1 for _, points in values):
        return ""
    every = [100 * value for _, points in values for _, value in points]
    margin = max(0.05 * (max(every) - min(every)), 0.1)
    low, high = min(every) - margin, max(every) + margin

    def at(value: float) -> float:
        return LEFT + (100 * value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    height = ROW * len(values) + 46
    parts = []
    for k in range(TICKS):
        tick = low + (high - low) * k / (TICKS - 1)
        x = at(tick / 100)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 40}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 26}" text-anchor="middle" fill="#555">{tick:.1f}</text>')
    for row, (line, points) in enumerate(values):
        y = ROW * row + 16
        name = line.method if len(line.method) <= 26 else f"{line.method[:25]}…"
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{html.escape(name)}</text>')
        mean = f"{at(line.robust.mean):.1f}"
        parts.append(f'<line x1="{mean}" x2="{mean}" y1="{y - 7}" y2="{y + 7}" stroke="#0b6e8f" stroke-width="2"/>')
        for seed, value in points:
            words = html.escape(f"{line.method}, seed {seed}: {100 * value:.2f} %")
            dot = f'<circle cx="{at(value):.1f}" cy="{y}" r="4" fill="#d1491b" fill-opacity=".65">'
            parts.append(f"{dot}<title>{words}</title></circle>")
    centre = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{centre}" y="{height - 6}" text-anchor="middle" fill="#555">robust accuracy, %</text>')
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-size="12" font-family="sans-serif"'
    title = "<h3>Robust accuracy: a dot for each seed, a bar for the mean</h3>"
    return f'{title}<svg {box} role="img" aria-label="robust accuracy by seed">{"".join(parts)}</svg>'


def accuracies(records: Sequence[Record], line: Line) -> list[tuple[int, float]]:
    """Return (seed, robust accuracy in [0, 1]) of the finished cells that a line summarises."""
    own = (line.method, line.fraction, line.equal)
    return [
        (r["seed"], r["accuracy"][line.evaluation]["robust"])
        for r in records
        if (r["method"], r["fraction"], r["equal"]) == own and r["error"] is None and line.evaluation in r["accuracy"]
    ]
