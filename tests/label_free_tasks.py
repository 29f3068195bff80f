"""Tasks with features only, and the clusters that a selection finds in them."""

from typing import Any

import numpy as np

from coreselect import Task
from coreselect.selectors.label_free.features import cluster


def features(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    """Normal features [n, d]."""
    return np.random.default_rng(seed).normal(size=(n, d))


def task(X: np.ndarray, **more: Any) -> Any:
    """A task with features only."""
    return Task.from_arrays(features=X, **more)


def parts_of(selector: Any, X: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the clusters that a selection with seed 0 finds in X."""
    with task(X).snapshot(0, 0) as snapshot:
        return cluster(snapshot, X.astype(np.float32), count, selector.name, selector.search)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """⟨a, b⟩ / ‖a‖‖b‖."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
