"""What groups are balanced over: classes, or clusters of the natural features (k-means, by scipy)."""

from typing import Literal

from coreselect.errors import UnknownNameError
from coreselect.search.kmeans import kmeans
from coreselect.support.seeding import derive
from coreselect.task.snapshot import Snapshot
from coreselect.types import Int64

Stratify = Literal["auto", "labels", "clusters"] | None
CLUSTERS = 10


def strata(shot: Snapshot, stratify: Stratify, clusters: int = CLUSTERS) -> Int64 | None:
    """Return a stratum per example, int64 [n], or None for plain groups.

    `"labels"`: the classes; `"auto"`: the classes where the training loss reads labels, else None (the published,
    label-free form); `"clusters"`: k-means of the natural features into `clusters`.

    Raises:
        RequirementError: labels or features are asked for and there are none.
    """
    if stratify not in ("auto", "labels", "clusters", None):
        raise UnknownNameError(f"stratify must be 'auto', 'labels', 'clusters' or None, got {stratify!r}.")
    if stratify is None or (stratify == "auto" and not shot.stratified_by_labels):
        return None
    if stratify == "clusters":
        features = shot.features().double().cpu().numpy()  # [n, D]
        # by scipy whether or not FAISS is installed: what is selected must not depend on it
        seed = derive(shot.draws, "clusters", shot.round)
        return kmeans(features, clusters, seed=seed, iterations=10, restarts=1, by="scipy")
    return shot.labels()
