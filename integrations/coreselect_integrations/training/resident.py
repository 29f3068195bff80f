"""A dataset of tensors that lies on the device: it is copied there once, and a batch is a row of numbers that chooses from it.

Batches, their order and their bits are those of the loader that reads items one by one. Only the images are kept on the device;
labels and positions stay on the host, where a history reads them.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from coreselect.data.images import Images
from coreselect.data.items import CheckedLoader, loaded_in_order
from coreselect.data.subsets import Indexed
from coreselect.gradients.store import in_memory
from coreselect.support.devices import sent
from coreselect_integrations.training.batches import Batches

READ = 1024  # images in one copy


class ResidentLoader:
    """Yields (x, …) for each batch of positions, x on the device and the rest on the host.

    Args:
        parts: of all items, [N, …] each; the first lies on the device.
        batches: of positions.
        generator: loses one number at the start of an epoch, as that of a `DataLoader` does.
    """

    def __init__(self, parts: tuple[Tensor, ...], batches: Batches, generator: torch.Generator) -> None:
        self.parts, self.batches, self.generator = parts, batches, generator

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        torch.empty((), dtype=torch.int64).random_(
            generator=self.generator
        )  # the seed of the workers that are not needed
        x, *rest = self.parts
        pin = x.device.type == "cuda"
        for positions in self.batches:
            at = torch.tensor(positions)
            more = [part[at].pin_memory() if pin else part[at] for part in rest]
            yield x[sent(at, x.device)], *more


def fixed(dataset: Any) -> bool:
    """Say whether reading an item of a dataset twice gives the same: images in one array or tensors, and parts of them."""
    while isinstance(dataset, Subset | Indexed):
        dataset = dataset.dataset
    return type(dataset) in (Images, TensorDataset)


def loader_for(
    dataset: Any,
    batches: Batches,
    *,
    what: str,
    generator: torch.Generator,
    num_workers: int = 0,
    timeout: float = 0,
    device: torch.device,
) -> Batches:
    """Return the loader of a training loop; the images lie on a GPU if they are `fixed` and fill at most half of what is free.

    Args: as for `CheckedLoader`; batches are put into pinned memory for a GPU.
    Raises:
        DataError: an item cannot be read.
    """
    if device.type != "cpu" and fixed(dataset):
        first = dataset[0]
        x = first[0] if isinstance(first, tuple) else first
        size = len(dataset) * math.prod(x.shape) * x.element_size() if isinstance(x, Tensor) else 0
        if 0 < size <= in_memory(device):
            return ResidentLoader(_read(dataset, what, device), batches, generator)
    return CheckedLoader(
        dataset, batches, what=what, generator=generator, num_workers=num_workers, timeout=timeout,
        pin=device.type == "cuda",
    )  # fmt: skip


def _read(dataset: Any, what: str, device: torch.device) -> tuple[Tensor, ...]:
    """Read every item, [N, …] each, the images on the device."""
    read: list[list[Tensor]] = []
    for batch in loaded_in_order(dataset, READ, what=what):
        x, *rest = batch if isinstance(batch, tuple | list) else (batch,)
        read.append([x.to(device), *rest])
    return tuple(torch.cat(parts) for parts in zip(*read, strict=True))
