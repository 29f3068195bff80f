"""Plot standard and robust accuracy against time and speed-up, with one mark for each method and fraction."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from coreselect.errors import missing_extra
from coreselect.report.figure import literal_texts
from coreselect_integrations.comparison.statistics import FULL, WARM, Line, MeanStd, Record, lines

UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
MARKS = "osD^vPX<>*"
Value = Callable[[Line], MeanStd]  # which accuracy of a line is drawn
KINDS: Mapping[str, Value] = MappingProxyType(
    {"standard": lambda line: line.standard, "robust": lambda line: line.robust}
)


def pareto(records: Sequence[Record], caption: str = "", kind: str = "png") -> bytes | None:
    """Draw a picture; None if no cell has finished.

    There is one row for each kind of equality and evaluation: standard accuracy on the left, robust accuracy on the right.
    The lower axis is time, including selection and warm-up, in hours (minutes or seconds if all runs are shorter). The upper
    axis is the speed-up over the full run, if there is one. Larger marks mean larger fractions; error bars are standard
    deviations over seeds. A dashed line joins the methods on the Pareto front: no other method is both as fast and as
    accurate.

    Args:
        records: of `compare`.
        caption: a line below the panels, such as seeds, attack and number of images.
        kind: `png`, `pdf` or `svg`.
    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = [line for line in lines(records) if line.method != WARM]
    if not found:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as why:
        raise missing_extra("matplotlib", "plot", "the picture of a comparison") from why
    panels = list(dict.fromkeys((line.equal, line.evaluation) for line in found if line.method != FULL)) or [
        (found[0].equal, found[0].evaluation)
    ]
    looks = looks_of([line.method for line in found])
    fractions = sorted({line.fraction for line in found if line.fraction is not None})
    handles = _legend(looks, fractions)
    across, down = len(KINDS), len(panels)
    columns = -(-len(handles) // (18 * down))  # as many rows of the legend as fit beside the panels
    figure = Figure(figsize=(4.6 * across + 1.6 * columns + 0.3, 4.2 * down + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    longest = max(seconds(line) for line in found)
    unit, size = next(((u, s) for u, s in UNITS if longest >= s), UNITS[-1])
    for row, (equal, evaluation) in enumerate(panels):
        shown = [o for o in found if o.evaluation == evaluation and (o.equal == equal or o.method == FULL)]
        for column, (name, value) in enumerate(KINDS.items()):
            axes = figure.add_subplot(down, across, across * row + column + 1)
            _panel(axes, shown, looks, fractions, size, value)
            axes.set_xlabel(f"{unit}, selection and warm-up included")
            axes.set_ylabel(f"{name} accuracy, %")
            axes.set_title(f"equal {equal}" + ("" if evaluation == "trained" else f", {evaluation}"), fontsize=10)
    if caption:
        figure.supxlabel(caption, fontsize=8, color="0.3")
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False, ncols=columns)
    out = io.BytesIO()
    with literal_texts(figure):
        figure.savefig(out, format=kind, dpi=130)
    return out.getvalue()


def looks_of(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give every method its own colour and mark; the full run is a black star."""
    names = dict.fromkeys(m for m in methods if m != FULL)
    looks = {m: (f"C{i % 10}", MARKS[(i + i // 10) % (len(MARKS) - 1)]) for i, m in enumerate(names)}
    return {**looks, FULL: ("black", "*")} if FULL in methods else looks


def _panel(
    axes: Any,
    shown: Sequence[Line],
    looks: dict[str, tuple[str, str]],
    fractions: Sequence[float],
    size: float,
    value: Value,
) -> None:
    """Draw one panel: a line through the fractions of each method, the front, and the axis of speed-up."""
    for method, (colour, mark) in looks.items():
        mine = sorted((o for o in shown if o.method == method), key=seconds)
        at = [seconds(o) / size for o in mine]
        axes.plot(at, [100 * value(o).mean for o in mine], color=colour, linewidth=0.8, alpha=0.5, zorder=2)
        for x, o in zip(at, mine, strict=True):
            axes.errorbar(
                x, 100 * value(o).mean, yerr=100 * value(o).deviation if value(o).n > 1 else None, color=colour,
                marker=mark, markersize=_mark_size(o.fraction, fractions), capsize=2, elinewidth=0.8, zorder=3,
            )  # fmt: skip
    front = sorted(on_front(shown, value), key=seconds)
    steps = [(seconds(o) / size, 100 * value(o).mean) for o in front]
    axes.step(*zip(*steps, strict=True), where="post", color="0.5", linestyle="--", linewidth=0.9, zorder=1)
    times = [seconds(o) / size for o in shown]
    if max(times) > 6 * min(times):
        logarithmic(axes.set_xscale, axes.xaxis, times)
    axes.grid(alpha=0.25)
    whole = [seconds(o) / size for o in shown if o.method == FULL]
    if whole:
        turn = (lambda h: whole[0] / _positive(h), lambda s: whole[0] / _positive(s))
        top = axes.secondary_xaxis("top", functions=turn)
        top.set_xlabel("speed-up against full data")
        logarithmic(None, top.xaxis, [whole[0] / t for t in times])


def logarithmic(scale: Any, axis: Any, values: Sequence[float]) -> None:
    """Put round numbers on a logarithmic axis, so that ticks do not crowd at one end."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if scale is not None:
        scale("log")
    low, high = min(values) / 1.3, max(values) * 1.3
    for mantissas in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.1, 1.2, 1.5, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [m * 10.0**e for e in range(-4, 6) for m in mantissas if low <= m * 10.0**e <= high]
        if len(ticks) > 3:
            break
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _legend(looks: dict[str, tuple[str, str]], fractions: Sequence[float]) -> list[Any]:
    """Make the entries of the legend."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=c, marker=m, linestyle="none", markersize=6, label=name) for name, (c, m) in looks.items()
    ]
    sizes = [
        Line2D(
            [],
            [],
            color="0.5",
            marker="o",
            linestyle="none",
            markersize=_mark_size(f, fractions),
            label=f"{100 * f:g} %",
        )
        for f in fractions
    ]
    front = Line2D([], [], color="0.5", linestyle="--", linewidth=0.9, label="front")
    return [*handles, *(sizes if len(sizes) > 1 else []), front]


def _mark_size(fraction: float | None, fractions: Sequence[float]) -> float:
    """Return the size of a mark in points."""
    return 9.0 if fraction is None else 5.0 + 4.0 * fractions.index(fraction) / max(1, len(fractions) - 1)


def seconds(line: Line) -> float:
    """Return the mean time of a method, including selection."""
    return line.train_seconds.mean + line.select_seconds.mean


def on_front(found: Sequence[Line], value: Value = KINDS["robust"]) -> list[Line]:
    """Keep the lines on the Pareto front: no other is as fast and as accurate, and better in one of the two."""

    def beaten(line: Line) -> bool:
        mine = (seconds(line), -value(line).mean)
        others = [(seconds(o), -value(o).mean) for o in found]
        return any(o[0] <= mine[0] and o[1] <= mine[1] and o != mine for o in others)

    return [line for line in found if not beaten(line)]


def _positive(values: Any) -> Any:
    """Replace values near zero, which the axis may ask about, by a small positive number."""
    import numpy as np

    return np.maximum(np.asarray(values, dtype=float), 1e-9)
