"""A picture of one selection: chosen images beside others, the gains, and the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from coreselect.data import labels_of, names_of
from coreselect.report.figure import TEXT_COLOUR, literal, new_figure, plain_frame, save_figure, whole_number_ticks
from coreselect.report.images import displayable_at
from coreselect.report.made_from import made_from
from coreselect.report.summary import Balance, balance, group_gains, pool_positions
from coreselect.support.seeding import derive
from coreselect.types import Float64, Int64, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CHOSEN, _POOL, _PALE = "#0b6e8f", "#b9c4cc", "#7c8790"
_COLUMNS, _ROWS = 10, 6  # largest grid of images
_MOST_NAMES = 24  # more classes than this are drawn without names


def draw(
    selection: Selection,
    dataset: Dataset[Any],
    path: str | Path,
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a picture: the first chosen images, a sample of the others, the gain of each group, and a histogram of classes.

    The title names data and attack, where they are known. The sample is drawn from the pool with the selection's seed. Each
    image is read with its own seed, and no global random state moves. An image with values outside [0, 1] (a normalised one)
    is stretched to its own range.

    Args:
        dataset: the dataset of `source_indices`. An item is an image, (image, …) or a mapping with an image; an image is a
            tensor [C, H, W] or [H, W], an array [H, W, C] or [H, W], or a Pillow image.
        path: ends in `.png`, `.pdf` or `.svg`. After a crash the file is either the old one or the new one.
        labels: int64 [n], labels of the dataset; None: read from the dataset.
        class_names: one per label value; None: the dataset's `classes`.
    Raises:
        IndexFileError: a pick is outside the dataset, or the file cannot be written.
        DataError: `path` has another ending, or an item has no image.
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(path, 12, 7.6)
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    rest = np.setdiff1d(pool_positions(selection, n), selection.source_indices)
    shown = selection.source_indices[: _COLUMNS * _ROWS]
    sample = np.random.default_rng(derive(selection.provenance.seed, "gallery")).permutation(rest)[: _COLUMNS * _ROWS]
    labels = labels_of(dataset) if labels is None else labels
    names = names_of(dataset) if class_names is None else class_names
    counts = None if labels is None else balance(selection, labels, names)

    made, k = selection.provenance, len(selection)
    figure.suptitle(
        f"{literal(made.selector)}: {k:,} of {made.pool_size:,} examples, seed {made.seed}, round {made.round}"
        f"\n{literal(made_from(made, getattr(dataset, 'name', None)))}",
        fontsize=14, fontweight="bold", color=TEXT_COLOUR,
    )  # fmt: skip
    axes = figure.subplot_mosaic([["chosen", "rest"], ["gains", "classes"]], height_ratios=[1.06, 1])
    most = max(len(shown), len(sample))
    shape = math.ceil(most / _COLUMNS), min(_COLUMNS, most)  # of both grids, so that their images have the same size
    first = f"all {k:,}" if len(shown) == k else f"the first {len(shown):,} of {k:,}"
    _images(axes["chosen"], displayable_at(dataset, shown), shape, f"chosen, in pick order: {first}")
    _images(
        axes["rest"], displayable_at(dataset, sample), shape, f"not chosen: {len(sample):,} of {len(rest):,}, at random"
    )
    _gains(axes["gains"], group_gains(selection))
    _histogram(axes["classes"], counts)
    save_figure(figure, path)


def _images(axes: Axes, images: list[NDArray[np.float32]], shape: tuple[int, int], title: str) -> None:
    """Draw a grid of images as one picture, with white lines between them."""
    axes.set_title(title, loc="left", fontsize=11, color=TEXT_COLOUR)
    axes.axis("off")
    if not images:
        axes.text(0.5, 0.5, "none", ha="center", va="center", color=_POOL, fontsize=14)
        return
    h, w = (max(image.shape[axis] for image in images) for axis in (0, 1))
    gap = max(1, round(w / 16))
    rows, columns = shape
    page = np.ones((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), np.float32)  # [H, W, 3], white
    for at, image in enumerate(images):
        y, x = at // columns * (h + gap), at % columns * (w + gap)
        page[y : y + image.shape[0], x : x + image.shape[1]] = image
    axes.imshow(page, interpolation="antialiased", aspect="equal")
    axes.set_anchor("NW")


def _gains(axes: Axes, gains: Float64) -> None:
    """Draw the gain of each group as a step."""
    axes.set_title("gain of each group, in pick order", loc="left", fontsize=11, color=TEXT_COLOUR)
    plain_frame(axes)
    if not np.any(gains):
        axes.text(0.5, 0.5, "this method has no gains", ha="center", va="center", color=_PALE, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    power = 3 * math.floor(math.log10(np.abs(gains).max()) / 3)  # thousandths, millionths …
    edges = np.arange(len(gains) + 1) + 0.5
    axes.stairs(gains / 10.0**power, edges, fill=True, color=_CHOSEN, alpha=0.25)
    axes.stairs(gains / 10.0**power, edges, baseline=None, color=_CHOSEN, linewidth=1.5)
    axes.axhline(0, color=TEXT_COLOUR, linewidth=0.8)
    axes.set_xlabel(f"group (sum of gains: {gains.sum():.4g})", color=TEXT_COLOUR)
    axes.set_ylabel("gain" + (f", $\\times 10^{{{power}}}$" if power else ""), color=TEXT_COLOUR)
    axes.set_xlim(edges[0], edges[-1])
    whole_number_ticks(axes)


def _histogram(axes: Axes, counts: Balance | None) -> None:
    """Draw each class's share of the picks over its share of the pool."""
    axes.set_title("share of each class", loc="left", fontsize=11, color=TEXT_COLOUR)
    plain_frame(axes)
    if counts is None:
        axes.text(0.5, 0.5, "no labels given", ha="center", va="center", color=_PALE, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    at = np.arange(len(counts.names))
    pool, chosen = (part / max(part.sum(), 1) for part in (counts.pool, counts.chosen))
    axes.bar(at, 100 * pool, width=0.86, color=_POOL, label="pool")
    axes.bar(at, 100 * chosen, width=0.5, color=_CHOSEN, label="chosen")
    axes.set_ylabel("share, % of the picks or of the pool", color=TEXT_COLOUR)
    axes.set_xlim(-0.7, len(at) - 0.3)
    axes.set_ylim(0, 100 * max(pool.max(), chosen.max()) * 1.22)  # room for the legend
    if len(at) <= _MOST_NAMES:
        names = [literal(name if len(name) <= 14 else f"{name[:13]}…") for name in counts.names]
        upright = max(map(len, names)) * len(names) <= 40
        axes.set_xticks(
            at, names, rotation=0 if upright else 40, ha="center" if upright else "right", rotation_mode="anchor"
        )
    else:
        axes.set_xlabel(f"{len(at)} classes, in order of their labels", color=TEXT_COLOUR)
        axes.set_xticks([])
    axes.legend(frameon=False, ncols=2, loc="upper right", fontsize=9)
