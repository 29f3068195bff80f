"""The formulas of scores of one prediction, written out, and the ranking by a score."""

import math
from typing import Any

import torch
from torch import nn

import coreselect
from coreselect.selectors import (
    EL2N,
    Entropy,
    LeastConfidence,
    Loss,
    Margin,
)

N = 20


select: Any = coreselect.select  # untyped, so that tests can read scores without a check for None


def p(z: Any) -> list[float]:
    """Softmax of one row, written out."""
    e = [math.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


def el2n(z: Any, y: int) -> float:
    return sum((q - (c == y)) ** 2 for c, q in enumerate(p(z))) ** 0.5


def entropy(z: Any, y: int) -> float:
    return -sum(q * math.log(q) for q in p(z))


def margin(z: Any, y: int) -> float:
    q = sorted(p(z))
    return q[-1] - q[-2]


def least_confidence(z: Any, y: int) -> float:
    return 1 - max(p(z))


def loss(z: Any, y: int) -> float:
    return -math.log(p(z)[y])


def ranked(scores: Any, end: str, k: int) -> list[int]:
    """Return the k best one by one, ties to the lowest index."""
    left, out = list(range(len(scores))), []
    for _ in range(k):
        best = max(scores[i] for i in left) if end == "highest" else min(scores[i] for i in left)
        out.append(next(i for i in left if scores[i] == best))
        left.remove(out[-1])
    return out


OF_LOGITS: list[tuple[Any, Any, str]] = [
    (EL2N, el2n, "highest"),
    (Entropy, entropy, "highest"),
    (Margin, margin, "lowest"),
    (LeastConfidence, least_confidence, "highest"),
    (Loss, loss, "highest"),
]


class Linear(nn.Module):
    """[B, 1, 6, 6] → [B, 4] by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))
