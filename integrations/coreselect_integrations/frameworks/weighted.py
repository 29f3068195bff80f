"""One line of a training step: the weighted mean of a batch's losses, while losses and history are recorded."""

from typing import Any

import torch.distributed as dist
from torch import Tensor

from coreselect import InfoBatchSampler
from coreselect.errors import ShapeError
from coreselect_integrations.frameworks.dealt import EpochSampler


def weighted_mean(
    sampler: EpochSampler,
    indices: Tensor,
    losses: Tensor,
    logits: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    attacked: bool = False,
) -> Tensor:
    """Return Σ w_i ℓ_i / B, with w_i of `sampler.weights`, after recording the batch.

    `InfoBatchSampler.update` gets the losses. The history of the sampler's task, if it has one, gets the logits and labels, or
    the losses where there are no logits. In a process group it gets the batches of all ranks, so every rank must call this
    equally often.

    Args:
        sampler: of the loader that gave the batch.
        indices: int64 [B], positions in the pool: the last entry of a batch of `Indexed`.
        losses: [B], one per example, not weighted.
        logits: [B, C], for methods that read the history of training.
        labels: int [B], together with logits.
        attacked: whether the logits are those of attacked inputs.
    Raises:
        ShapeError: there is not one loss for each index; or see `History.record`.
        NonFiniteError: see `InfoBatchSampler.update` and `History.record`.
        ScheduleError: a position is not in the current epoch.
    """
    if losses.shape != indices.shape:
        raise ShapeError(
            f"weights need one loss per example, got losses {tuple(losses.shape)} for indices {tuple(indices.shape)}: compute "
            "the loss with reduction='none'."
        )
    if isinstance(sampler, InfoBatchSampler):
        sampler.update(indices, losses)
    history = None if isinstance(sampler, InfoBatchSampler) else sampler.task.history
    if history is not None and logits is not None and labels is not None:
        for i, z, y in _of_all_ranks(indices, logits, labels):
            history.record(i, z, y, attacked=attacked)
    elif history is not None:
        for i, values in _of_all_ranks(indices, losses):
            history.record_losses(i, values)
    return (losses * sampler.weights(indices)).mean()


def _of_all_ranks(*tensors: Tensor) -> list[tuple[Any, ...]]:
    """Return a batch's tensors, on the CPU, of each rank in turn."""
    mine = tuple(t.detach().cpu() for t in tensors)
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [mine]
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, mine)
    return every
