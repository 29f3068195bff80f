"""The distinct points of a pool, found by a hash of each point, in O(N) memory beside the points."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.types import Int64

ROWS = 1024  # that are processed at once
MIX = np.uint64(0xBF58476D1CE4E5B9)


def distinct_points(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first index of each distinct point, ascending int64 [M], and how often it occurs, int64 [M].

    0 and −0 are equal. Only points of the same hash are compared.

    Args:
        points: [N, D], N ≥ 1, of any floating-point type.
    """
    key = np.concatenate([hashes(block) for block in points.split(ROWS)])  # [N]
    order = np.argsort(key, kind="stable")  # of equal keys the lowest index comes first
    after = np.flatnonzero(key[order][1:] == key[order][:-1]) + 1  # places whose key is that of the place before
    same = np.zeros(len(key), dtype=bool)
    for at in np.split(after, range(ROWS, len(after), ROWS)):
        here, before = (points[torch.from_numpy(order[i]).to(points.device)] for i in (at, at - 1))
        same[at] = (here == before).all(1).cpu().numpy()
    if not same[after].all():
        return _by_bytes(points)
    first, count = order[~same], np.bincount(np.cumsum(~same) - 1)
    return _answer(first, count, points.device)


def hashes(rows: Tensor) -> NDArray[np.uint64]:
    """Return a number per row, [b, D] → [b]; equal rows have equal numbers."""
    values = (rows + 0.0).contiguous().cpu().numpy()  # turns −0 into 0
    words = values.view(f"u{values.itemsize}").astype(np.uint64)  # [b, D]
    words *= np.random.default_rng(0).integers(1, 2**63, rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    words ^= words >> np.uint64(31)
    words *= MIX
    words ^= words >> np.uint64(29)
    return words.sum(1, dtype=np.uint64)


def _by_bytes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same where different points have one hash: store the bytes of each distinct point."""
    seen: dict[bytes, list[int]] = {}
    for i, row in enumerate(points):
        seen.setdefault((row + 0.0).cpu().numpy().tobytes(), []).append(i)
    members = list(seen.values())
    return _answer(np.array([m[0] for m in members]), np.array([len(m) for m in members]), points.device)


def _answer(first: Int64, count: Int64, device: torch.device) -> tuple[Tensor, Tensor]:
    by_index = np.argsort(first)
    return torch.from_numpy(first[by_index]).to(device), torch.from_numpy(count[by_index]).to(device)
