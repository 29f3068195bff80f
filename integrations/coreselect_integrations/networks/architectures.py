"""Make networks by name for a loss and an image shape; a seed decides the parameters."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.support.seeding import derive, rng_kept
from coreselect_integrations.lookup import look_up
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.own import OPTION, WHAT, check_outputs, make_own
from coreselect_integrations.networks.resnet import resnet18, resnet34, resnet50
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.small import SmallConv
from coreselect_integrations.networks.wide_resnet import wide_resnet
from coreselect_integrations.own_code import admitted, is_own

SUPERVISED = ("sat", "trades", "ce")
CONTRASTIVE = ("acl", "cl")
TWO_ROUTES = ("acl", "dynacl")  # losses whose names begin so have a separate route for attacked views

Maker = Callable[[NetworkSpec], RoutedNetwork]


def _resnet(make: Callable[..., RoutedNetwork], spec: NetworkSpec) -> RoutedNetwork:
    return make(stem=spec.stem, **_options(spec))


def _wide(spec: NetworkSpec) -> RoutedNetwork:
    _check_stem(spec)
    return wide_resnet(28, 10, **_options(spec))


def _small(spec: NetworkSpec) -> RoutedNetwork:
    _check_stem(spec)
    return SmallConv(size=spec.size, **_options(spec))


def _options(spec: NetworkSpec) -> dict[str, Any]:
    classes = 0 if spec.classes is None else spec.classes
    return {"classes": classes, "channels": spec.channels, "dual_bn": spec.dual_bn, "projection": spec.projection}


def _check_stem(spec: NetworkSpec) -> None:
    if spec.stem != "cifar":
        why = f"only ResNets have the stem {spec.stem!r}, not {spec.arch!r}: use stem 'cifar' or a ResNet."
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
    """Return the function that makes an architecture.

    Raises:
        UnknownNameError: no architecture has this name.
        RequirementError: it is made by code of the user's that was not given.
    """
    if is_own(arch):
        admitted(arch, WHAT, OPTION)
        return make_own
    return look_up(ARCHITECTURES, arch, "architecture")


def make(spec: NetworkSpec, seed: int = 0) -> RoutedNetwork:
    """Make a network on the CPU.

    Args:
        spec: what the network is.
        seed: decides the parameters, together with the name of the architecture; global random states do not change.
    Raises:
        UnknownNameError: no architecture has this name.
        RequirementError: the architecture does not have this stem, or your own network has another number of outputs.
        DataError: your own network cannot be made, or does not take the images.
    """
    maker = maker_of(spec.arch)
    with rng_kept(), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(seed, "parameters", spec.arch))
        network = maker(spec)
    check_outputs(network)
    return network


def spec_for(
    arch: str,
    loss: str,
    *,
    channels: int,
    size: int,
    classes: int | None = None,
    stem: str = "cifar",
    projection: int = 3,
    routes: str | None = None,
) -> NetworkSpec:
    """Describe the network that a training loss needs.

    Args:
        arch: a name in `ARCHITECTURES`.
        loss: `sat`, `trades` or `ce` need a classifier with one route. `acl`, and names that begin with `acl` or `dynacl`,
            need an encoder with two routes and a projection head. `cl` needs the same with one route, because it would
            never train the second.
        channels, size: C and H = W of the images.
        classes: number of labels; needed by the supervised losses, ignored by the others.
        stem: of a ResNet, see `NetworkSpec`.
        projection: layers of the projection head, 2 or 3; ignored by the supervised losses.
        routes: see `NetworkSpec`.
    Raises:
        UnknownNameError: no architecture or loss has this name.
        RequirementError: a classifier needs a number of classes, or a value is out of range.
    """
    maker_of(arch)
    if loss in SUPERVISED:
        if classes is None:
            why = f"the loss {loss!r} needs labels to train a classifier, but the data has none: use loss 'acl'."
            raise RequirementError(why)
        return NetworkSpec(arch, channels, size, classes=classes, stem=stem, routes=routes)
    dual_bn = loss.startswith(TWO_ROUTES)
    if not dual_bn and loss not in CONTRASTIVE:
        why = f"no network is known for the loss {loss!r}; there are {', '.join(SUPERVISED + CONTRASTIVE)}."
        raise UnknownNameError(why)
    return NetworkSpec(arch, channels, size, projection=projection, dual_bn=dual_bn, stem=stem, routes=routes)


def build(
    arch: str, loss: str, *, channels: int, size: int, classes: int | None = None, seed: int = 0
) -> RoutedNetwork:
    """Make the network that a training loss needs: `make(spec_for(…), seed)`, with the same arguments and errors."""
    return make(spec_for(arch, loss, channels=channels, size=size, classes=classes), seed)
