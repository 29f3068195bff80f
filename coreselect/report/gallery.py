"""A picture of a selection: chosen images beside others, gains, classes. The only file that imports matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.data import labels_of, names_of
from coreselect.errors import DataError, IndexFileError, missing_extra
from coreselect.io.atomic import atomic_file
from coreselect.report.summary import Balance, balance, group_gains, pool_positions
from coreselect.support.seeding import derive, rng_kept, seed_everything, seeds
from coreselect.types import Float64, Int64, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHOSEN, _POOL, _INK = "#0b6e8f", "#b9c4cc", "#222b33"
_KEYS = ("image", "images", "pixel_values", "img", "x", "input")
_COLUMNS, _ROWS = 10, 6  # of a grid, at most
_NAMES = 24  # more classes than this are drawn without their names


def draw(
    selection: Selection,
    dataset: Dataset[Any],
    path: str | Path,
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a PNG: the first chosen images, a sample of those not chosen, the gains by group and the class histogram.

    The sample is drawn from the pool with the selection's seed; images are read under seeds of their own, and no global
    random state moves. Images outside [0, 1] (normalised ones) are stretched each to its own range.

    Args:
        dataset: the one that `source_indices` are positions in; items are an image, (image, …) or a mapping with one,
            as a tensor [C, H, W] or [H, W], an array [H, W, C] or [H, W], or a Pillow image.
        path: ends in `.png`; a crash leaves the old file or the new one.
        labels: int64 [n] of the dataset; None asks the dataset for them.
        class_names: one per label value; None asks the dataset's `classes`.
    Raises:
        IndexFileError: a pick lies outside the dataset, or the file cannot be written.
        DataError: another ending, or an item without an image.
        MissingExtraError: matplotlib is not installed.
    """
    figure = sheet(path, 12, 7.6)
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    rest = np.setdiff1d(pool_positions(selection, n), selection.source_indices)
    shown = selection.source_indices[: _COLUMNS * _ROWS]
    sample = np.random.default_rng(derive(selection.provenance.seed, "gallery")).permutation(rest)[: _COLUMNS * _ROWS]
    labels = labels_of(dataset) if labels is None else labels
    names = names_of(dataset) if class_names is None else class_names
    counts = None if labels is None else balance(selection, labels, names)

    made, k = selection.provenance, len(selection)
    figure.suptitle(
        f"{words(made.selector)}: {k:,} of {made.pool_size:,} examples, seed {made.seed}, round {made.round}",
        fontsize=15, fontweight="bold", color=_INK,
    )  # fmt: skip
    axes = figure.subplot_mosaic([["chosen", "rest"], ["gains", "classes"]], height_ratios=[1.06, 1])
    most = max(len(shown), len(sample))
    shape = math.ceil(most / _COLUMNS), min(_COLUMNS, most)  # of both grids, so that images are equally large
    first = f"all {k:,}" if len(shown) == k else f"the first {len(shown):,} of {k:,}"
    _images(axes["chosen"], _shown(dataset, shown), shape, f"chosen, in pick order: {first}")
    _images(axes["rest"], _shown(dataset, sample), shape, f"not chosen: {len(sample):,} of {len(rest):,}, at random")
    _curve(axes["gains"], group_gains(selection))
    _histogram(axes["classes"], counts)
    save(figure, path)


def sheet(path: str | Path, width: float, height: float) -> Figure:
    """Return an empty figure of so many inches for a picture at `path`.

    Raises:
        DataError: `path` does not end in `.png`.
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as why:
        raise missing_extra("matplotlib", "plot", "a picture") from why
    if Path(path).suffix.lower() != ".png":
        raise DataError(f"{path} is not the name of a picture: a picture ends in .png.")
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.05, hspace=0.05)  # type: ignore[union-attr]  # just given
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG; a crash leaves the old file or the new one.

    Raises:
        IndexFileError: the file cannot be written.
    """
    try:
        with atomic_file(path) as file:
            figure.savefig(file, format="png")
    except OSError as why:
        raise IndexFileError(f"{path} cannot be written ({why.strerror or why}).") from why


def images_at(dataset: Any, positions: Int64) -> list[NDArray[np.float32]]:
    """Read images [H, W, 1 or 3], bytes as [0, 1], each under its own seed; no global random state moves.

    Raises:
        DataError: an item without an image.
    """
    out = []
    with rng_kept():
        for i, seed in zip(positions.tolist(), seeds(0, "gallery", indices=positions).tolist(), strict=True):
            seed_everything(seed)
            out.append(_image(dataset[i], i))
    return out


def _image(item: Any, index: int) -> NDArray[np.float32]:
    if isinstance(item, Mapping):
        item = next((item[key] for key in _KEYS if key in item), None)
    elif isinstance(item, tuple | list) and item:
        item = item[0]
    array = item.detach().cpu().float().numpy() if isinstance(item, Tensor) else np.asarray(item)
    if isinstance(item, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)  # [H, W, C]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype.kind not in "buif" or not array.size:
        raise DataError(
            f"item {index} has no image: a tensor [C, H, W], an array [H, W, C] or a Pillow image is needed."
        )
    scaled = array.astype(np.float32) / np.float32(255 if array.dtype == np.uint8 else 1)
    return scaled[..., :3] if array.shape[2] >= 3 else scaled[..., :1]


def _shown(dataset: Any, positions: Int64) -> list[NDArray[np.float32]]:
    """Images as they are drawn: in [0, 1], those that leave it stretched each to its own range."""
    out = []
    for image in images_at(dataset, positions):
        low, high = float(image.min()), float(image.max())
        inside = (image - low) / max(high - low, 1e-12) if low < 0 or high > 1 else image
        out.append(np.nan_to_num(inside).astype(np.float32, copy=False))
    return out


def _images(axes: Axes, images: list[NDArray[np.float32]], shape: tuple[int, int], title: str) -> None:
    """Draw a grid of images as one picture, a white line between them."""
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
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


def _curve(axes: Axes, gains: Float64) -> None:
    """Draw the gain of each group as a step."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title("gain of each group, in pick order", loc="left", fontsize=11, color=_INK)
    _plain(axes)
    if not np.any(gains):
        axes.text(
            0.5, 0.5, "this method has no gains", ha="center", va="center", color="#7c8790", transform=axes.transAxes
        )
        axes.set(xticks=[], yticks=[])
        return
    power = 3 * math.floor(math.log10(np.abs(gains).max()) / 3)  # thousandths, millionths …
    edges = np.arange(len(gains) + 1) + 0.5
    axes.stairs(gains / 10.0**power, edges, fill=True, color=_CHOSEN, alpha=0.25)
    axes.stairs(gains / 10.0**power, edges, baseline=None, color=_CHOSEN, linewidth=1.5)
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"group (sum of gains: {gains.sum():.4g})", color=_INK)
    axes.set_ylabel(f"$\\times 10^{{{power}}}$" if power else "", color=_INK)
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _histogram(axes: Axes, counts: Balance | None) -> None:
    """Draw each class's share of the picks over its share of the pool."""
    axes.set_title("share of each class", loc="left", fontsize=11, color=_INK)
    _plain(axes)
    if counts is None:
        axes.text(0.5, 0.5, "no labels given", ha="center", va="center", color="#7c8790", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    at = np.arange(len(counts.names))
    pool, chosen = (part / max(part.sum(), 1) for part in (counts.pool, counts.chosen))
    axes.bar(at, 100 * pool, width=0.86, color=_POOL, label="pool")
    axes.bar(at, 100 * chosen, width=0.5, color=_CHOSEN, label="chosen")
    axes.set_ylabel("%", color=_INK)
    axes.set_xlim(-0.7, len(at) - 0.3)
    axes.set_ylim(0, 100 * max(pool.max(), chosen.max()) * 1.22)  # room for the legend
    if len(at) <= _NAMES:
        names = [words(name if len(name) <= 14 else f"{name[:13]}…") for name in counts.names]
        upright = max(map(len, names)) * len(names) <= 40
        axes.set_xticks(
            at, names, rotation=0 if upright else 40, ha="center" if upright else "right", rotation_mode="anchor"
        )
    else:
        axes.set_xlabel(f"{len(at)} classes, in order of their labels", color=_INK)
        axes.set_xticks([])
    axes.legend(frameon=False, ncols=2, loc="upper right", fontsize=9)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)


def words(text: str) -> str:
    """Keep matplotlib from reading dollars as mathematics."""
    return text.replace("$", r"\$")
