"""One epoch by a loop of the user's: what it reads, and what it returns, are checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from coreselect.errors import RequirementError


class OnePass:
    """The batches of one epoch, which can be read once; `read` and `examples` count what was read.

    Args:
        loader: yields tuples that end with positions [B].
        name: of the user's loop, in messages.
    """

    def __init__(self, loader: Iterable[Any], name: str) -> None:
        self.loader, self.name = loader, name
        self.read, self.examples, self.begun = 0, 0, False

    def __iter__(self) -> Iterator[Any]:
        """Begin the pass.

        Raises:
            RequirementError: it has begun before.
        """
        if self.begun:
            raise RequirementError(
                f"{self.name} reads the batches of an epoch a second time: train on each once, and give more --epochs."
            )
        self.begun = True
        return self._batches()

    def _batches(self) -> Iterator[Any]:
        for batch in self.loader:
            self.read += 1
            self.examples += len(batch[-1])
            yield batch

    def refuse_unread(self, due: int) -> None:
        """Refuse a loop that did not read all `due` batches: it would be compared with loops that train on more.

        Raises:
            RequirementError: it did not.
        """
        if self.read < due:
            raise RequirementError(
                f"{self.name} read {self.read:,} of the {due:,} batches of the epoch: train on every batch of job.batches once."
            )


@contextmanager
def changing(network: nn.Module, name: str) -> Iterator[None]:
    """Refuse a loop that leaves every parameter as it is: its network would be compared with trained ones.

    Args:
        network: that the loop trains.
        name: of the user's loop, in messages.
    Raises:
        RequirementError: at the end, no parameter has changed.
    """
    before = [p.detach().clone() for p in network.parameters()]
    yield
    if all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)):
        raise RequirementError(
            f"{name} changed no parameter of the network: call job.optimizer.step() after the gradient of every batch, and then "
            "job.step(). (A GradScaler leaves steps out while gradients overflow: give it a smaller init_scale.)"
        )


def loss_and_accuracy(said: Any, name: str) -> tuple[float, float | None]:
    """Return what a loop of the user's says of its epoch: the mean loss, and the accuracy or None.

    A loss that is not finite is left to the run, which names the epoch.

    Raises:
        RequirementError: it says something else, or the accuracy is not in [0, 1].
    """
    both = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    loss, accuracy = (None if part is None else _number(part) for part in both)
    if loss is None or (accuracy is None and both[1] is not None):
        got = ", ".join(type(part).__name__ for part in said) if isinstance(said, tuple) else type(said).__name__
        got = f"({got})" if isinstance(said, tuple) else got
        raise RequirementError(f"{name} returned {got}: the mean loss is needed, or (mean loss, accuracy), as numbers.")
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise RequirementError(
            f"{name} returned the accuracy {accuracy:g}: a share in [0, 1] is needed, 0.5 for 50 %, or the mean loss alone."
        )
    return loss, accuracy


def _number(value: Any) -> float | None:
    """Return a number or a tensor of one number as a float; None for anything else."""
    if isinstance(value, str | bytes | bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):
        return None
