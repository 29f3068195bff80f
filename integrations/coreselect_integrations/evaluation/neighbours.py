"""Accuracy of a representation by weighted nearest neighbours, without training a head.

    s_i = ⟨f(x), f(x_i)⟩/(‖f(x)‖·‖f(x_i)‖)      w_c = Σ_{i ∈ N_k(x)} 1[y_i = c]·exp(s_i/t)      ŷ = argmax_c w_c

N_k(x) are the k training examples with the largest s_i; if some are equal, the first ones in the training set count. If
votes are equal, the lowest label wins. Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
Discrimination", CVPR 2018, section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coreselect.errors import NonFiniteError, RequirementError, ShapeError, first_few
from coreselect.protocols import Progress
from coreselect.support.devices import device_for
from coreselect_integrations.evaluation.reading import Unpack, batches, check_not_empty, count
from coreselect_integrations.training.contexts import evaluation_mode

Represent = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """`accuracy` in [0, 1] of `n` test examples by `k` neighbours among `n_train`, in wall-clock `seconds`."""

    accuracy: float
    n: int
    n_train: int
    k: int
    temperature: float
    seconds: float


def neighbours(
    represent: Represent,
    train: DataLoader[Any] | Dataset[Any],
    test: DataLoader[Any] | Dataset[Any],
    *,
    k: int = 200,
    temperature: float = 0.1,
    batch_size: int = 256,
    model: nn.Module | None = None,
    unpack: Unpack | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Neighbours:
    """Classify test examples by the labels of their nearest training examples in a representation.

    Similarities are float32, votes float64. Memory holds the features of the training set, and one block
    [batch_size, n_train] of similarities at a time.

    Args:
        represent: f, [B, …] → [B, D]; called without gradients.
        train, test: labelled datasets, or loaders of them; labels are integers ≥ 0.
        k: number of neighbours that vote, 1…n_train.
        temperature: t, > 0.
        batch_size: of the batches made from a dataset; it changes only memory and time.
        model: the module inside `represent`, which is held in evaluation mode; None means `represent` itself, if it is a
            module.
        unpack: batch → (x, y); None takes its first two entries.
        device: where batches are moved; None means the device of the model.
        progress: called with ("neighbours", examples done, examples in all) after each batch, also of the training set.
    Raises:
        RequirementError: there are no examples, t is not positive, or k is not in 1…n_train. (k is never lowered, because
            accuracies with different k cannot be compared.)
        ShapeError: the features are not [B, D], or the labels are not integers ≥ 0 [B].
        NonFiniteError: a feature is not finite; `indices` are positions in the set that the message names.
    """
    start = perf_counter()
    if not (k >= 1 and temperature > 0):
        raise RequirementError(f"neighbours need k ≥ 1 and a temperature > 0, got k={k}, temperature={temperature}.")
    if model is None and isinstance(represent, nn.Module):
        model = represent
    device = device_for(model, device)
    total, n, correct = count(train) + count(test), 0, 0
    with nullcontext() if model is None else evaluation_mode(model), torch.no_grad():
        keys, labels = [], []
        for f, y in _features(represent, batches(train, batch_size, unpack), device, "training set"):
            keys.append(f)
            labels.append(y)
            n += len(y)
            if progress is not None:
                progress("neighbours", n, max(total, n))
        n_train, n = n, 0
        if not k <= n_train:
            raise RequirementError(
                f"k={k} neighbours need as many training examples, but there are {n_train}: give k ≤ {n_train}."
            )
        f_train, y_train = torch.cat(keys), torch.cat(labels)  # [N, D], [N]
        del keys
        for f, y in _features(represent, batches(test, batch_size, unpack), device, "test set"):
            correct += int((vote(f @ f_train.T, y_train, k, temperature) == y).sum())
            n += len(y)
            if progress is not None:
                progress("neighbours", n_train + n, max(total, n_train + n))
    check_not_empty(n)
    return Neighbours(correct / n, n, n_train, k, temperature, perf_counter() - start)


def vote(similarity: Tensor, labels: Tensor, k: int, temperature: float) -> Tensor:
    """Return the labels with the largest votes, where the k most similar examples vote with weights exp(s/t).

    Args:
        similarity: s, [B, N].
        labels: int64 [N], ≥ 0.
        k: 1…N.
        temperature: t, > 0.
    Returns:
        int64 [B].
    """
    smallest = similarity.topk(k, dim=1).values[:, -1:]  # [B, 1]
    above, equal = similarity > smallest, similarity == smallest  # [B, N]
    picked = above | (
        equal & (equal.cumsum(1, dtype=torch.int32) <= k - above.sum(1, keepdim=True))
    )  # [B, N], k in each row
    near = picked.nonzero()[:, 1].view(-1, k)  # [B, k]
    s = similarity.gather(1, near).double()  # [B, k]
    weights = ((s - s.amax(1, keepdim=True)) / temperature).exp()  # [B, k], at most 1, so exp never overflows
    votes = weights.new_zeros(len(s), int(labels.max()) + 1)  # [B, classes]
    return votes.scatter_add_(1, labels[near], weights).argmax(1)


def _features(
    represent: Represent, data: Iterator[tuple[Tensor, Tensor]], device: torch.device | str | None, where: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield unit-length float32 features [B, D] and int64 labels [B], checked."""
    seen = 0
    for x, y in data:
        f = represent(x.to(device)).float()  # [B, D]
        y = torch.as_tensor(y, device=f.device)  # [B]
        if f.dim() != 2 or len(f) != len(x):
            raise ShapeError(f"a representation must be [B, D], got {list(f.shape)} for {len(x)} inputs: flatten it.")
        if y.shape != (len(x),) or y.is_floating_point() or bool((y < 0).any()):
            raise ShapeError(f"neighbours need integer labels ≥ 0 [B], got {y.dtype} {list(y.shape)} in the {where}.")
        wrong = (~f.isfinite().all(1)).nonzero().squeeze(1) + seen  # positions
        if len(wrong):
            rows = wrong.tolist()
            raise NonFiniteError(f"the representation of {first_few(rows)} of the {where} is not finite.", rows)
        seen += len(x)
        yield F.normalize(f, dim=1), y.long()
