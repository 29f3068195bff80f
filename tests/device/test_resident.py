"""A pool that lies on the device: the batches of the loader, and few copies."""

from typing import Any

import numpy as np
import pytest
import torch
from bright_dark import SHORT, SPEC, bright_dark
from pretend_device import PretendDevice
from torch.utils.data import RandomSampler, Subset, TensorDataset

from coreselect.data.images import Images
from coreselect.data.items import CheckedLoader
from coreselect.data.subsets import Indexed
from coreselect_integrations.networks import make, route_call
from coreselect_integrations.systems import sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training import resident
from coreselect_integrations.training.batches import NonSingletonBatches
from coreselect_integrations.training.resident import ResidentLoader, loader_for

DEVICE = torch.device("pretend:0")
N, BATCH = 23, 6


def pools() -> dict[str, Any]:
    """Datasets that do not change between reads."""
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8), rng.integers(0, 3, N), "noise")
    return {
        "images": images,
        "without labels": Images(images.images, None, "noise"),
        "a part": Subset(images, list(range(N - 1, 2, -1))),
        "tensors": TensorDataset(torch.rand(N, 3, 4, 4), torch.arange(N)),
    }


def loader(pool: Any, device: torch.device) -> tuple[Any, torch.Generator]:
    own = torch.Generator().manual_seed(3)
    indexed = Indexed(pool)
    batches = NonSingletonBatches(RandomSampler(indexed, generator=own), BATCH)  # type: ignore[arg-type]
    return loader_for(indexed, batches, what="pool", generator=own, device=device), own


@pytest.mark.parametrize("name", pools())
def test_batches_are_those_of_the_loader(name: str, device: PretendDevice) -> None:
    """Bits, order, types and the state of the generator are, epoch by epoch; only images lie on the device."""
    pool = pools()[name]
    (got, a), (want, b) = loader(pool, DEVICE), loader(pool, torch.device("cpu"))
    assert (type(got), type(want)) == (ResidentLoader, CheckedLoader)
    assert len(got) == len(want)
    for _ in range(2):
        for one, other in zip(got, want, strict=True):
            assert [t.device.type for t in one] == ["pretend", *["cpu"] * (len(other) - 1)]
            assert [t.dtype for t in one] == [t.dtype for t in other]
            assert all(torch.equal(t.cpu(), o) for t, o in zip(one, other, strict=True))
        assert torch.equal(a.get_state(), b.get_state())


class Changing(TensorDataset):
    """Items with a draw of their own."""

    def __getitem__(self, index: Any) -> Any:
        return tuple(t + torch.rand(()) for t in super().__getitem__(index))


def test_what_changes_or_does_not_fit_is_read_item_by_item(
    device: PretendDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items with random draws, and a pool of more bytes than half of what is free."""
    x = torch.rand(N, 3, 4, 4)
    assert isinstance(loader(Changing(x), DEVICE)[0], CheckedLoader)
    monkeypatch.setattr(resident, "in_memory", lambda where: x.nbytes)
    assert isinstance(loader(TensorDataset(x), DEVICE)[0], ResidentLoader)
    monkeypatch.setattr(resident, "in_memory", lambda where: x.nbytes - 1)
    assert isinstance(loader(TensorDataset(x), DEVICE)[0], CheckedLoader)


def test_an_epoch_copies_little_to_the_device(device: PretendDevice) -> None:
    """A batch costs the copies of its positions, labels, crops and starts, and of these the host waits for the labels alone."""
    counts = []
    for n in (12, 48):
        own = torch.Generator().manual_seed(0)
        pool = bright_dark(n)
        batches = NonSingletonBatches(RandomSampler(pool, generator=own), 6)  # type: ignore[arg-type]
        network = make(SPEC, 0).to(DEVICE)
        source = loader_for(pool, batches, what="pool", generator=own, device=DEVICE)
        assert isinstance(source, ResidentLoader)
        device.reset()
        sat.train_epoch(
            network, source, torch.optim.SGD(network.parameters(), 0.01), SHORT, generator=own, call=route_call,
            augment=crop_flip, device=DEVICE,
        )  # fmt: skip
        counts.append(dict(device.counts))
    few, many = counts
    assert (many["to device"] - few["to device"]) / 6 <= 5
    assert many["blocking"] - few["blocking"] == 6
    assert many["wait"] == few["wait"]
