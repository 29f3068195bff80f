"""What the training loops share: the log of an epoch, its random draws, its batches, and which attack a loss takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler

from coreselect.errors import RequirementError
from coreselect.protocols import Attack, Loss, Progress
from coreselect.support.seeding import generator

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What one epoch did, as it went: the model moved between its batches.

    `loss` is the mean over examples, nats; `accuracy` in [0, 1] is the share classified rightly of the inputs that the
    updates were made on (the attacked ones, where there was an attack), None without labels; `seconds` is wall-clock
    time, data loading included.
    """

    loss: float
    accuracy: float | None
    examples: int
    seconds: float


class NonSingletonBatches(Sampler[list[int]]):
    """Batches of a sampler's examples, none of them of a single one, which batch normalisation cannot normalise.

    The last batch is what is left; where that is one example, it joins the batch before.

    Args:
        sampler: of examples; its length may change between epochs.
        batch_size: ≥ 2.
        drop_last: leave the last batch out where it is not full and not the only one.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, *, drop_last: bool = False) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def sizes(self) -> list[int]:
        """Count the examples of each batch of the present epoch."""
        n, B = len(self.sampler), self.batch_size  # type: ignore[arg-type]  # samplers of finite data have a length
        sizes, left = [B] * (n // B), n % B
        if left and not (sizes and self.drop_last):
            if left == 1 and sizes:
                sizes[-1] += 1
            else:
                sizes.append(left)
        return sizes

    def __len__(self) -> int:
        return len(self.sizes())

    def __iter__(self) -> Iterator[list[int]]:
        examples = iter(self.sampler)
        for size in self.sizes():
            yield [next(examples) for _ in range(size)]


class Batches(Protocol):
    """A loader that knows how many batches it has."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class ProgressLoader:
    """A loader that says after each batch how many examples of how many are done.

    Args:
        loader: yields tensors, or tuples that begin with one.
        part, total: what to call it, and how many examples there are in all.
        progress: called with (part, examples done, total); None for nobody.
        done: examples done before the first batch.
    """

    def __init__(self, loader: Batches, part: str, total: int, progress: Progress | None, done: int = 0) -> None:
        self.loader, self.part, self.total, self.progress, self.done = loader, part, total, progress, done

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        done = self.done
        for batch in self.loader:
            yield batch
            done += len(batch[0] if isinstance(batch, tuple | list) else batch)
            if self.progress is not None:
                self.progress(self.part, done, self.total)


def draws(seed: int, name: str, epoch: int) -> torch.Generator:
    """Return the generator of one epoch's augmentation and random starts: a function of (seed, name, epoch)."""
    return generator(seed, "draws", name, epoch)


def check_attack(loss: Loss, attack: Attack | None) -> None:
    """Refuse a loss and an attack that do not belong together.

    Raises:
        RequirementError: attacked inputs are read and there is no attack, or the other way round; or the attack starts
            where its slope is zero.
    """
    attacked = any(route == "adversarial" for route, _ in loss.streams)
    if attacked and attack is None:
        why = f"the loss {loss.name!r} reads attacked inputs and was given no attack: give one, PGD(8 / 255, 2 / 255, 10) say."
        raise RequirementError(why)
    if attack is not None and not attacked:
        why = f"the loss {loss.name!r} reads natural inputs alone and was given an attack: give attack=None."
        raise RequirementError(why)
    if attack is not None and getattr(loss, "flat_at_start", False) and not attack.random_start:
        why = f"an attack on the divergence in {loss.name!r} has zero gradient at x̃ = x: use random_start=True."
        raise RequirementError(why)


def random_start(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [−1, 1) of the shape of `x`, where the generator lives."""
    return (2 * torch.rand(x.shape, generator=generator, device=generator.device) - 1).to(x)
