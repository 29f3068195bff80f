"""The strata over which groups are balanced: classes, or k-means clusters of the natural features."""

from functools import partial
from typing import Literal

from coreselect.errors import UnknownNameError
from coreselect.search.kmeans import kmeans, kmeans_needs
from coreselect.support.limits import Needs, read_within
from coreselect.support.seeding import derive
from coreselect.task.snapshot import Snapshot
from coreselect.types import Int64

Stratify = Literal["auto", "labels", "clusters"] | None
CLUSTERS = 10
ITERATIONS = 10  # of k-means


def strata_of(snapshot: Snapshot, stratify: Stratify, clusters: int = CLUSTERS) -> Int64 | None:
    """Return a stratum per example, int64 [n], or None for plain groups.

    Args:
        stratify: `"labels"`: the classes; `"auto"`: the classes if the training loss reads labels, else None (the published
            form, without labels); `"clusters"`: k-means clusters of the natural features; None: no strata.
        clusters: how many clusters.
    Raises:
        UnknownNameError: no such way to stratify.
        RequirementError: labels or features are needed and there are none, or k-means needs more than the limits allow.
    """
    if stratify not in ("auto", "labels", "clusters", None):
        raise UnknownNameError(f"stratify must be 'auto', 'labels', 'clusters' or None, got {stratify!r}.")
    if stratify is None or (stratify == "auto" and not snapshot.stratified_by_labels):
        return None
    if stratify == "clusters":
        needs = partial(strata_needs, snapshot.n, clusters)
        found = read_within(snapshot.features, snapshot.feature_width, needs, "clusters", snapshot.n)
        features = found.double().cpu().numpy()  # [n, D]
        # always by scipy: the selection must not depend on whether FAISS is installed
        seed = derive(snapshot.draw_seed, "clusters", snapshot.round)
        return kmeans(features, clusters, seed=seed, iterations=ITERATIONS, restarts=1, by="scipy")
    return snapshot.labels()


def strata_needs(n: int, clusters: int, width: int) -> Needs:
    """Return what clusters of n features of a width need, with one float64 copy of the features."""
    return kmeans_needs(n, clusters, width, ITERATIONS, "scipy")
