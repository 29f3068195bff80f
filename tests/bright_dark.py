"""Images whose brightness is their class, and weights of a small extractor with two routes, for tests of training."""

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from coreselect.attacks import PGD
from coreselect_integrations.networks import NetworkSpec, make

SPEC = NetworkSpec("small", channels=1, size=8, projection=2, dual_bn=True)
SHORT = PGD(0.05, 0.025, 2)


def gen(seed: int = 0) -> torch.Generator:
    """A new generator with this seed."""
    return torch.Generator().manual_seed(seed)


def bright_dark(n: int = 40, channels: int = 1, seed: int = 7) -> TensorDataset:
    """Dark and bright images [channels, 8, 8] in turn, with labels 0 and 1."""
    y = torch.arange(n) % 2
    noise = torch.rand(n, channels, 8, 8, generator=gen(seed))
    return TensorDataset((0.3 + 0.4 * y.view(-1, 1, 1, 1) + 0.2 * noise).clamp(0, 1), y)


def extractor(spec: NetworkSpec = SPEC, seed: int = 0) -> dict[str, Tensor]:
    """Weights of a network whose two routes have seen different images."""
    network = make(spec, seed)
    for i, route in enumerate(("natural", "adversarial")):
        for _ in range(3):
            network(torch.rand(16, 1, 8, 8, generator=gen(seed + i)) ** (i + 1), route)
    return {name: t.clone() for name, t in network.state_dict().items()}
