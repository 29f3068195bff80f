"""Prototypicality is the distance to the centre of the own cluster."""

from typing import Any

import numpy as np
import pytest
from label_free_tasks import cosine, features, parts_of, task

from coreselect import select
from coreselect.selectors import Prototypicality


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_prototypicality_is_the_distance_to_the_own_centroid(distance: Any, keep: Any) -> None:
    """Scores are the distance to the mean of the own cluster, and the picks are the farthest, or nearest, in that order."""
    X = features(40)
    selector = Prototypicality(keep, distance, clusters=3)
    got = select(task(X), selector, 11)
    Z = np.array([x / np.linalg.norm(x) for x in X]) if distance == "cosine" else X
    want = np.empty(40)
    for members in parts_of(selector, Z, 3):
        centroid = np.stack([Z[i] for i in members]).sum(0) / len(members)
        for i in members:
            want[i] = 1 - cosine(Z[i], centroid) if distance == "cosine" else np.linalg.norm(Z[i] - centroid)
    assert got.scores is not None
    assert np.allclose(got.scores, want, rtol=1e-12, atol=1e-14)
    assert got.indices.tolist() == sorted(range(40), key=lambda i: -want[i] if keep == "hard" else want[i])[:11]


def test_prototypicality_on_numbers_done_by_hand() -> None:
    """Points 0, 1, 2, 9 on a line have the mean 3: distances 3, 2, 1, 6; hard keeps 9 then 0, easy 2 then 1."""
    X = np.array([[0.0], [1.0], [2.0], [9.0]])
    hard = select(task(X), Prototypicality("hard", "euclidean", clusters=1), 2)
    assert hard.scores is not None
    assert hard.scores.tolist() == [3, 2, 1, 6]
    assert hard.indices.tolist() == [3, 0]
    assert select(task(X), Prototypicality("easy", "euclidean", clusters=1), 2).indices.tolist() == [2, 1]
