"""What the reader of a page has before its first block: small data, models, files in the working folder."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import torch
from published import PublishedResNet
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from coreselect import CoresetSampler, Task, holdout, select
from coreselect.selectors import RCS, Random

N, SIDE, CLASSES = 120, 8, 3


def images(n: int = N) -> TensorDataset:
    """Random pixels [n, 3, 8, 8] in [0, 1], with labels."""
    x = torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(n) % CLASSES)


class Net(nn.Module):
    """A small convolutional classifier with a head called `classifier`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        self.classifier = nn.Linear(4 * 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class DictNet(Net):
    """The same, in the form that gives a dictionary."""

    def forward(self, x: Tensor) -> Any:
        return {"logits": super().forward(x)}


class OtherRoutes(nn.Module):
    """A network with two routes under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = routed()

    def forward(self, x: Tensor, bn_name: str) -> Tensor:
        return self.inner(x, {"normal": "natural", "pgd": "adversarial"}[bn_name])


class Scans(Dataset[Any]):
    """Items that are dictionaries of dictionaries."""

    def __init__(self) -> None:
        self.inner = images(60)

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        x, y = self.inner[index]
        return {"scan": {"pixels": x}, "meta": {"kind": y}}


def routed() -> nn.Module:
    """A network with two batch-norm routes: [B, 1, 6, 6], route → [B, 5]."""
    return cases.built(cases.DualNet, dtype=torch.float32)


def given(page: str) -> dict[str, Any]:
    """The names that a page's code begins with."""
    torch.manual_seed(0)
    pool, validation = holdout(images(), 20, 0)
    model = Net()
    names = {
        "dataset": images(), "model": model, "network": model, "pool": pool, "validation": validation,
        "optimizer": torch.optim.SGD(model.parameters(), 0.05),
    }  # fmt: skip
    if page == "docs/how-to/normalised-inputs.md":
        x, y = images().tensors
        shifted = holdout(TensorDataset(4 * x - 2, y), 20, 0)
        names |= {"old_weights": model.state_dict(), "normalised_pool": shifted[0], "normalised_validation": shifted[1]}
    if page == "docs/how-to/model-and-head.md":
        x, y = images().tensors
        two = holdout(TensorDataset(x, y % 2), 20, 0)
        names |= {"dict_model": DictNet(), "two_class_pool": two[0], "two_class_validation": two[1]}
    if page == "docs/how-to/data-and-labels.md":
        names |= {"dataset_of_dicts": Scans(), "plain": images(), "augmented": images()}
    if page == "docs/how-to/no-labels.md":
        names |= {"features": np.random.default_rng(0).normal(size=(60, 5)), "encoder": model}
    if page == "docs/how-to/dual-bn.md":
        grey = TensorDataset(cases.images(60, dtype=torch.float32))  # [60, 1, 6, 6]
        pool, validation = holdout(grey, 12, 0)
        names |= {
            "model": routed(), "other_model": OtherRoutes().eval(), "pool": pool, "validation": validation,
            "two_views": cases.two_views,
        }  # fmt: skip
    return {"__name__": "page", **names}


def dynacl() -> dict[str, Any]:
    """A network, a sampler and a loader for the loop of DynACL; kornia must be installed."""
    from coreselect_integrations.networks import small_conv_contrastive
    from coreselect_integrations.systems import acl

    x = torch.rand(72, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pool, validation = holdout(TensorDataset(x, torch.zeros(72, dtype=torch.int64)), 8, 0)
    network = small_conv_contrastive(3, 8)
    sampler = CoresetSampler(acl.task(network, pool, validation), RCS(), 32, warmup=1, every=1)
    return {
        "network": network, "pool": pool, "validation": validation, "sampler": sampler, "epochs": 3, "seed": 0,
        "optimizer": torch.optim.SGD(network.parameters(), 0.05),
        "loader": torch.utils.data.DataLoader(pool, 16, sampler=sampler, generator=torch.Generator()),
    }  # fmt: skip


def files(folder: Path, page: str = "") -> None:
    """The files that pages read: a folder of images, arrays, an index file of `images()`; for one page, a published network."""
    photos(folder / "photos", classes=("barn", "cat"), side=16)
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    np.save(folder / "features.npy", features)
    np.save(folder / "labels.npy", np.arange(60) % 3)
    pool, validation = holdout(images(), 0.01, 0)
    select(Task.from_model(Net(), pool, validation, loss="sat"), Random(), 0.2).save(folder / "coreset.npz")
    if page == "docs/how-to/published-checkpoints.md":
        torch.save(PublishedResNet(names=("normal", "pgd")).state_dict(), folder / "published.pt")


def photos(folder: Path, classes: tuple[str, ...] = tuple("0123456789"), side: int = 32) -> None:
    """A folder of PNG files by class: scanned digits where scikit-learn is there, else noise; 16 a class, 4 for testing."""
    from PIL import Image

    try:
        from sklearn.datasets import load_digits

        scans: Any = load_digits()
        pixels, labels = (scans.images * 15.9).astype(np.uint8), scans.target
    except ImportError:
        pixels = np.random.default_rng(0).integers(0, 255, (400, 8, 8)).astype(np.uint8)
        labels = np.arange(400) % 10
    for number, name in enumerate(classes):
        mine = pixels[labels == number]
        for split, chosen in (("train", mine[:16]), ("test", mine[16:20])):
            (folder / split / name).mkdir(parents=True)
            for i, image in enumerate(chosen):
                Image.fromarray(image).resize((side, side)).convert("RGB").save(folder / split / name / f"{i:04d}.png")
