"""An empty figure, and writing it as a PNG. Only this file imports matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coreselect.errors import DataError, IndexFileError, missing_extra
from coreselect.io.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_COLOUR = "#222b33"


def new_figure(path: str | Path, width: float, height: float) -> Figure:
    """Return an empty figure for a picture at `path`.

    Args:
        path: ends in `.png`.
        width, height: in inches.
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
        raise DataError(f"{path} does not end in .png, and pictures are written as PNG: give a name that ends in .png.")
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.05, hspace=0.05)  # type: ignore[union-attr]  # just given
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG. After a crash the file is either the old one or the new one.

    Raises:
        IndexFileError: the file cannot be written.
    """
    try:
        with atomic_file(path) as file:
            figure.savefig(file, format="png")
    except OSError as why:
        raise IndexFileError(f"{path} cannot be written ({why.strerror or why}).") from why


def plain_frame(axes: Axes) -> None:
    """Remove the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=9)


def whole_number_ticks(axes: Axes) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def literal(text: str) -> str:
    """Return the text with dollar signs escaped, so that matplotlib does not read it as mathematics."""
    return text.replace("$", r"\$")
