"""A selection as plain values, for `--json`."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from coreselect.report.summary import balance, group_gains
from coreselect.types import Int64, Selection


def as_json(
    selection: Selection,
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
    pool: Int64 | None = None,
) -> dict[str, Any]:
    """Return a selection as lists, dicts, strings, numbers and None. A number that is not finite becomes None.

    All picks are in it. `scores`, which are as long as the pool, are in the index file only.
    """
    classes = None
    if labels is not None:
        kept = balance(selection, labels, class_names, pool)
        parts = zip(kept.names, kept.chosen, kept.pool, strict=True)
        classes = [{"name": name, "chosen": chosen, "pool": pool} for name, chosen, pool in parts]
    provenance = asdict(selection.provenance)
    out = {
        "selector": provenance.pop("selector"),
        "budget": len(selection),
        "pool_size": provenance.pop("pool_size"),
        "nested": selection.nested,
        "indices": selection.indices,
        "source_indices": selection.source_indices,
        "groups": selection.groups,
        "gains": selection.gains,
        "weights": selection.weights,
        "group_gains": group_gains(selection),
        "classes": classes,
        "certificate": selection.certificate and asdict(selection.certificate),
        "diagnostics": selection.diagnostics and asdict(selection.diagnostics),
        "trouble": selection.diagnostics.trouble() if selection.diagnostics else [],
        "provenance": provenance,
    }
    return _finite(out)


def _finite(value: Any) -> Any:
    """Turn arrays, tuples and numpy scalars into plain values, and numbers that are not finite into None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
