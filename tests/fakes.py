"""Invented selections for tests of what is shown and stored: the numbers are arbitrary, the shapes are real."""

from dataclasses import replace
from typing import Any

import numpy as np

from coreselect.types import Certificate, Diagnostics, Provenance, Selection


def selection(n: int = 60, k: int = 12, group: int = 3, held: int = 10, seed: int = 0, **changes: Any) -> Selection:
    """Pick k of n examples, in groups, without `held` examples of validation; `changes` replaces fields."""
    rng = np.random.default_rng(seed)
    validation = np.sort(rng.permutation(n)[:held])
    pool = np.setdiff1d(np.arange(n), validation)
    indices = rng.permutation(len(pool))[:k]
    order = rng.permutation(10_000)[: -(-k // group)]  # group numbers are in no order
    gains = np.sort(rng.gamma(1.0, 1e-3, len(order)))[::-1] / group
    made = Provenance(
        selector="rcs",
        settings={"objective": {"type": "RD", "divergence": "kl"}, "eta": 0.01, "groups": "batch", "stratify": None},
        budget=k,
        pool_size=len(pool),
        seed=3,
        round=1,
        versions={"coreselect": "0.1.0", "torch": "2.13.0"},
        seconds={"rows": 1.5, "greedy": 0.25},
        fingerprint=f"n:{len(pool)}-0123456789abcdef0123456789abcdef",
        validation_indices=validation if held else None,
        disjoint="disjoint by indices" if held else None,
        notes=("group_size 3 from min(64, budget // 8)",),
    )
    made_up = Selection(
        indices=indices,
        source_indices=pool[indices],
        groups=np.repeat(order, group)[:k],
        gains=np.repeat(gains, group)[:k],
        weights=None,
        scores=None,
        nested=True,
        certificate=Certificate(
            "instance", 0.012, 0.015, 0.8, ("attacked inputs held", "whole groups"), {"excess": 1e-4}
        ),
        diagnostics=Diagnostics(query_pool_cosine=-0.5, effective_classes=9.5, classes=10),
        provenance=made,
    )
    return replace(made_up, **changes)
