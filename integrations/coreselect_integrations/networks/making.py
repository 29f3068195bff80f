"""Networks by name, made for a loss and the shape of the data, with parameters drawn from a seed."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.support.seeding import derive, rng_kept
from coreselect_integrations.networks.resnet import resnet18, resnet34, resnet50
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.small import SmallConv
from coreselect_integrations.networks.spec import Spec
from coreselect_integrations.networks.wide_resnet import wide_resnet

SUPERVISED = ("sat", "trades", "ce")
CONTRASTIVE = ("acl", "cl")
TWO_ROUTES = ("acl", "dynacl")  # how the names of losses begin that give attacked views a route of their own

Maker = Callable[[Spec], RoutedNetwork]


def _resnet(make: Callable[..., RoutedNetwork], spec: Spec) -> RoutedNetwork:
    return make(stem=spec.stem, **_options(spec))


def _wide(spec: Spec) -> RoutedNetwork:
    _refuse_stem(spec)
    return wide_resnet(28, 10, **_options(spec))


def _small(spec: Spec) -> RoutedNetwork:
    _refuse_stem(spec)
    return SmallConv(size=spec.size, **_options(spec))


def _options(spec: Spec) -> dict[str, Any]:
    classes = 0 if spec.classes is None else spec.classes
    return {"classes": classes, "channels": spec.channels, "dual_bn": spec.dual_bn, "projection": spec.projection}


def _refuse_stem(spec: Spec) -> None:
    if spec.stem != "cifar":
        why = f"only ResNets have the stem {spec.stem!r}, {spec.arch!r} has none: use stem 'cifar' or a ResNet."
        raise RequirementError(why)


ARCHITECTURES: Mapping[str, Maker] = MappingProxyType(
    {
        "small": _small,
        "resnet18": partial(_resnet, resnet18),
        "resnet34": partial(_resnet, resnet34),
        "resnet50": partial(_resnet, resnet50),
        "wrn28_10": _wide,
    }
)


def maker_of(arch: str) -> Maker:
    """Look up what makes an architecture.

    Raises:
        UnknownNameError: no such architecture.
    """
    if arch not in ARCHITECTURES:
        why = f"no architecture is called {arch!r}; there are {', '.join(ARCHITECTURES)}."
        raise UnknownNameError(why)
    return ARCHITECTURES[arch]


def make(spec: Spec, seed: int = 0) -> RoutedNetwork:
    """Make a network on the CPU.

    Args:
        spec: what it is.
        seed: with the architecture's name decides the parameters; no global random state moves.
    Raises:
        UnknownNameError: no such architecture.
        RequirementError: the architecture does not have the stem.
    """
    maker = maker_of(spec.arch)
    with rng_kept(), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(seed, "parameters", spec.arch))
        return maker(spec)


def spec_for(
    arch: str,
    loss: str,
    *,
    channels: int,
    size: int,
    classes: int | None = None,
    stem: str = "cifar",
    projection: int = 3,
) -> Spec:
    """Say which network a training loss needs.

    Args:
        arch: a name in `ARCHITECTURES`.
        loss: `sat`, `trades` or `ce` need a classifier with one route; `acl`, and names that begin with `acl` or
            `dynacl`, a dual-route encoder with projection head; `cl` the same with one route, as nothing would ever
            train a second.
        channels, size: C and H = W of the images.
        classes: number of labels; needed by the supervised losses, without effect on the others.
        stem: of a ResNet, as `Spec` says.
        projection: layers of the projection head, 2 or 3; without effect on the supervised losses.
    Raises:
        UnknownNameError: no such architecture or loss.
        RequirementError: a classifier is asked for without a number of classes, or a value is out of its range.
    """
    maker_of(arch)
    if loss in SUPERVISED:
        if classes is None:
            why = f"the loss {loss!r} needs labels to train a classifier, and the data has none: use loss 'acl'."
            raise RequirementError(why)
        return Spec(arch, channels, size, classes=classes, stem=stem)
    dual_bn = loss.startswith(TWO_ROUTES)
    if not dual_bn and loss not in CONTRASTIVE:
        why = f"no network is known for the loss {loss!r}; there are {', '.join(SUPERVISED + CONTRASTIVE)}."
        raise UnknownNameError(why)
    return Spec(arch, channels, size, projection=projection, dual_bn=dual_bn, stem=stem)


def build(
    arch: str, loss: str, *, channels: int, size: int, classes: int | None = None, seed: int = 0
) -> RoutedNetwork:
    """Make the network that a training loss needs: `make(spec_for(…), seed)`, with their arguments and refusals."""
    return make(spec_for(arch, loss, channels=channels, size=size, classes=classes), seed)
