"""A picture of several selections of one pool: the picks of each, drawn over the pool in the same plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coreselect.report.figure import TEXT_COLOUR, literal, new_figure, save_figure
from coreselect.report.made_from import made_from
from coreselect.report.projection import Projection
from coreselect.types import Float64, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWN, _SHARED, _POOL = "#0b8fb8", "#d1491b", "#cdd5da"
_COLUMNS, _SIDE = 3, 4.3  # most panels in a row; inches of a panel


def draw_map(
    selections: Sequence[Selection], names: Sequence[str], places: Projection, of: str, path: str | Path
) -> None:
    """Write a picture with a panel for each selection: its picks over the pool or a sample of it. All panels have the same axes.

    Picks that another selection also has are drawn in another colour.

    Args:
        selections: of one pool, one for each entry of `places.picks`.
        names: one short name per selection.
        places: where the pool and the picks are in the plane.
        of: what was projected, in words.
        path: ends in `.png`, `.pdf` or `.svg`. After a crash the file is either the old one or the new one.
    Raises:
        DataError: `path` has another ending.
        IndexFileError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    count = len(selections)
    columns = min(count, _COLUMNS if count != 4 else 2)
    rows = math.ceil(count / columns)
    figure = new_figure(path, max(9.0, _SIDE * columns), _SIDE * rows + 1.0)
    made = selections[0].provenance
    figure.suptitle(
        f"{count} selections from {made.pool_size:,} examples\n{literal(_made_from(selections))}",
        fontsize=14, fontweight="bold", color=TEXT_COLOUR,
    )  # fmt: skip
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, selection, name, picks in zip(grid, selections, names, places.picks, strict=False):
        others = [other.indices for other in selections if other is not selection]
        shared = np.isin(selection.indices, np.concatenate(others))  # [k]
        _panel(axes, places.pool, picks, shared)
        k = len(selection)
        title = f"{name} · {selection.provenance.selector}: {k:,} picks, {shared.sum():,} shared"
        axes.set_title(literal(title), loc="left", fontsize=11, color=TEXT_COLOUR)
    for axes in grid[count:]:
        axes.axis("off")
    for axes in grid[max(0, count - columns) : count]:
        axes.set_xlabel(f"component 1 ({places.explained[0]:.1%} of the variance)", fontsize=9, color=TEXT_COLOUR)
    for axes in grid[:count:columns]:
        axes.set_ylabel(f"component 2 ({places.explained[1]:.1%} of the variance)", fontsize=9, color=TEXT_COLOUR)
    drawn = f"all {len(places.pool):,}" if places.whole else f"{len(places.pool):,} at random"
    handles, labels = grid[0].get_legend_handles_labels()
    labels = [f"pool ({drawn})", "picked by this one alone", "picked by another one too"]
    caption = f"principal components of {literal(of)}"
    figure.legend(
        handles, labels, title=caption, loc="outside lower center", ncols=3, frameon=False, markerscale=2,
        fontsize=10, title_fontsize=10,
    )  # fmt: skip
    save_figure(figure, path)


def _made_from(selections: Sequence[Selection]) -> str:
    """Say of which data and attack selections are; those of more than two kinds are only counted."""
    kinds = list(dict.fromkeys(words for s in selections if (words := made_from(s.provenance))))
    return " / ".join(kinds) if len(kinds) < 3 else f"{len(kinds)} kinds of data or attack"


def _panel(axes: Axes, pool: Float64, picks: Float64, shared: np.ndarray) -> None:
    size = float(np.clip(6000 / max(1, len(picks)), 2, 22))  # points²; smaller if there are many picks
    axes.scatter(*pool.T, s=3, color=_POOL, linewidths=0, label="pool", rasterized=True)
    axes.scatter(*picks[~shared].T, s=size, color=_OWN, alpha=0.75, linewidths=0, label="own")
    axes.scatter(*picks[shared].T, s=size, color=_SHARED, alpha=0.9, linewidths=0, label="shared")
    axes.set_aspect("equal", adjustable="box")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(_POOL)
