"""What groups are balanced over: classes, or clusters of the natural features (k-means, by scipy)."""

import warnings
from typing import Literal

import numpy as np

from coreselect.errors import UnknownNameError
from coreselect.seeding import derive
from coreselect.snapshot import Snapshot
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
        from scipy.cluster.vq import kmeans2  # slow to import, and few ask for clusters

        features = shot.features().double().cpu().numpy()  # [n, D]
        rng = np.random.default_rng(derive(shot.draws, "clusters", shot.round))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty cluster is a stratum that nobody is in
            return kmeans2(features, min(clusters, shot.n), minit="++", rng=rng, missing="warn")[1].astype(np.int64)
    return shot.labels()
