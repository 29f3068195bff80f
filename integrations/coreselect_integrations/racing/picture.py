"""A picture of a race: robust accuracy on the held-out images against the seconds of training, one line for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coreselect.report.figure import TEXT_COLOUR, literal, new_figure, plain_frame, save_figure
from coreselect_integrations.comparison.picture import UNITS, logarithmic

NAMED = 10  # arms with a colour and a name


def draw_race(
    records: Sequence[Mapping[str, Any]], final: Mapping[str, Any], names: Sequence[str], path: str | Path
) -> None:
    """Draw the runs of a race as a PNG.

    Args:
        records: of the runs of all rungs.
        final: of the last training, which is a star.
        names: of the arms, best first; the first ten have a colour.
        path: ends in `.png`.
    Raises:
        MissingExtraError: matplotlib is not installed.
        DataError, IndexFileError: the path cannot be written, or has another ending.
    """
    figure = new_figure(path, 8.5, 4.2)
    axes = figure.add_subplot()
    longest = max(r["seconds"] for r in (*records, final))
    unit, size = next(((u, s) for u, s in UNITS if longest >= s), UNITS[-1])
    for rank, name in reversed(list(enumerate(names))):
        runs = [r for r in records if r["arm"] == name and r["robust"] is not None]
        runs += [final] if final["arm"] == name else []
        look: dict[str, Any] = {"color": "0.8", "linewidth": 0.7, "zorder": 1}
        if rank < NAMED:
            look = {"color": f"C{rank}", "linewidth": 1.2, "zorder": 3 + NAMED - rank, "label": literal(name)}
        at, robust = [r["seconds"] / size for r in runs], [100 * r["robust"] for r in runs]
        axes.errorbar(
            at, robust, yerr=[100 * (r["robust"] * (1 - r["robust"]) / r["n"]) ** 0.5 for r in runs], marker="o", markersize=3.5,
            capsize=2, elinewidth=0.7, **look,
        )  # fmt: skip
    x, y = final["seconds"] / size, 100 * final["robust"]
    axes.plot([x], [y], marker="*", markersize=13, color="C0", markeredgecolor="white", linestyle="none", zorder=20)
    times = [r["seconds"] / size for r in (*records, final) if r["robust"] is not None]
    logarithmic(axes.set_xscale, axes.xaxis, times)
    axes.set_xlabel(f"{unit} of one run, selection and judging included", color=TEXT_COLOUR)
    axes.set_ylabel("robust accuracy, %", color=TEXT_COLOUR)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", fontsize=8, frameon=False)
    plain_frame(axes)
    save_figure(figure, path)
