"""Which severities the files of a corrupted data set hold, proved by their labels.

As published, the labels of n images stand five times, one after the other: once for each severity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.errors import DataError

SEVERITIES = (1, 2, 3, 4, 5)
NEARLY = 0.99  # labels that repeat five times at so many of their rows are the published ones, with a few damaged


def severity_rows(labels: NDArray[Any], severities: Sequence[int], name: str) -> dict[int, slice]:
    """Return the rows of each severity that a folder holds.

    Labels that repeat five times are of the severities 1…5. Other files hold the severities that the user names, in that
    order, if their labels repeat that many times.

    Args:
        labels: integers [rows].
        severities: what the user asks for; different numbers of 1…5.
        name: the file's name in messages.
    Returns:
        severity → its rows.
    Raises:
        DataError: the labels do not repeat.
    """
    if _repeats(labels, len(SEVERITIES)) == 1:
        return _blocks(len(labels), SEVERITIES)
    if _repeats(labels, len(SEVERITIES)) > NEARLY:
        n = len(labels) // len(SEVERITIES)
        first = int(np.flatnonzero(labels != np.tile(labels[:n], len(SEVERITIES)))[0])
        raise DataError(
            f"{name} repeats the labels of {n} images for 5 severities, but not at row {first}: take another copy of the file."
        )
    if set(severities) != set(SEVERITIES) and _repeats(labels, len(severities)) == 1:
        return _blocks(len(labels), severities)
    asked = ",".join(map(str, severities))
    raise DataError(
        f"{name} has {len(labels):,} labels that do not repeat {len(severities)} times: one label for each of n images at 5 "
        f"severities is needed, or name the severities that the files hold (--severities, now {asked})."
    )


def _repeats(labels: NDArray[Any], times: int) -> float:
    """Return the share of the labels that are as in the first of `times` equal parts; 0 if the length does not divide."""
    if not len(labels) or len(labels) % times:
        return 0.0
    parts = np.asarray(labels).reshape(times, -1)  # [times, n]
    return float((parts == parts[0]).mean())


def _blocks(rows: int, severities: Sequence[int]) -> dict[int, slice]:
    n = rows // len(severities)
    return {severity: slice(i * n, (i + 1) * n) for i, severity in enumerate(severities)}
