"""Networks by name, built for a loss and the shape of the data, with parameters drawn from a seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.seeding import derive, rng_kept
from coreselect_integrations.networks.projection import Projection
from coreselect_integrations.networks.resnet import ResNet18, resnet18
from coreselect_integrations.networks.routes import ROUTES, DualNorm, Normalise, RoutedNetwork, route_call
from coreselect_integrations.networks.small import SmallConv, small_conv, small_conv_contrastive

__all__ = [
    "ARCHITECTURES",
    "CONTRASTIVE",
    "ROUTES",
    "SUPERVISED",
    "Architecture",
    "DualNorm",
    "Normalise",
    "Projection",
    "ResNet18",
    "RoutedNetwork",
    "SmallConv",
    "build",
    "resnet18",
    "route_call",
    "small_conv",
    "small_conv_contrastive",
]

SUPERVISED = ("sat", "trades")
CONTRASTIVE = ("acl", "cl")


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network in its two forms.

    `classifier(classes, channels, size)` has one route and a linear head; `contrastive(channels, size)` has two routes
    and a 3-layer projection head.
    """

    classifier: Callable[[int, int, int], nn.Module]
    contrastive: Callable[[int, int], nn.Module]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "small": Architecture(small_conv, small_conv_contrastive),
        "resnet18": Architecture(
            classifier=lambda classes, channels, size: resnet18(classes, channels),
            contrastive=lambda channels, size: resnet18(channels=channels, dual_bn=True, projection=3),
        ),
    }
)


def build(arch: str, loss: str, *, channels: int, size: int, classes: int | None = None, seed: int = 0) -> nn.Module:
    """Make a network for a training loss.

    Args:
        arch: a name in `ARCHITECTURES`.
        loss: `sat` or `trades` give a classifier, `acl` or `cl` a dual-route encoder with projection head.
        channels, size: C and H = W of the images.
        classes: number of labels; needed by the supervised losses.
        seed: decides the initial parameters; no global random state moves.
    Raises:
        UnknownNameError: no such architecture or loss.
        RequirementError: a classifier is asked for without a number of classes.
    """
    if arch not in ARCHITECTURES:
        why = f"no architecture is called {arch!r}; there are {', '.join(ARCHITECTURES)}."
        raise UnknownNameError(why)
    if loss not in SUPERVISED + CONTRASTIVE:
        why = f"no network is known for the loss {loss!r}; there are {', '.join(SUPERVISED + CONTRASTIVE)}."
        raise UnknownNameError(why)
    if loss in SUPERVISED and classes is None:
        why = f"the loss {loss!r} needs labels to train a classifier, and the data has none: use loss 'acl'."
        raise RequirementError(why)
    with rng_kept():
        torch.default_generator.manual_seed(derive(seed, "parameters", arch))
        if loss in SUPERVISED:
            return ARCHITECTURES[arch].classifier(classes or 0, channels, size)
        return ARCHITECTURES[arch].contrastive(channels, size)
