"""An empty figure, and writing it as PNG, PDF or SVG. Only this file imports matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from coreselect.errors import DataError, IndexFileError, missing_extra
from coreselect.io.atomic import atomic_file
from coreselect.support.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_COLOUR = "#222b33"
# The formats by the file's ending, and what is left out of them so that the same picture has the same bytes.
FORMATS: Mapping[str, Mapping[str, None]] = MappingProxyType(
    {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
)


def new_figure(path: str | Path, width: float, height: float) -> Figure:
    """Return an empty figure for a picture at `path`.

    Args:
        path: ends in `.png`, `.pdf` or `.svg`.
        width, height: in inches.
    Raises:
        DataError: `path` has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as why:
        raise missing_extra("matplotlib", "plot", "a picture") from why
    if _format(path) not in FORMATS:
        raise DataError(f"{path} ends in none of .png, .pdf and .svg, in which pictures are written: give such a name.")
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.05, hspace=0.05)  # type: ignore[union-attr]  # just given
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the file's ending. After a crash the file is either the old one or the new one.

    Raises:
        IndexFileError: the file cannot be written.
    """
    from matplotlib import rc_context

    kind = _format(path)
    try:
        with atomic_file(path) as file, rc_context({"svg.hashsalt": "coreselect"}), literal_texts(figure):
            figure.savefig(file, format=kind, metadata=dict(FORMATS[kind]))
    except OSError as why:
        raise IndexFileError(f"{path} cannot be written ({why.strerror or why}).") from why


@contextmanager
def literal_texts(figure: Figure) -> Iterator[None]:
    """Draw texts as they are while the block runs: a `$` in a name begins no mathematics."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    with rc_context({"text.parse_math": False}):  # of texts that are made while drawing
        for text in figure.findobj(Text):
            text.set_parse_math(False)  # type: ignore[attr-defined]  # they are texts
        yield


def _format(path: str | Path) -> str:
    """`a/b.PNG` → `png`."""
    return Path(path).suffix.lower().removeprefix(".")


def plain_frame(axes: Axes) -> None:
    """Remove the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=TEXT_COLOUR, labelsize=9)


def whole_number_ticks(axes: Axes) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def literal(text: str) -> str:
    """Return the text so that matplotlib can draw it, with dollar signs escaped: it does not read them as mathematics."""
    return printable(text).replace("$", r"\$")
