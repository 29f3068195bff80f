"""Whether named tensors are those of a network, judged before the network is made."""

from collections.abc import Mapping

import torch
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect_integrations.networks.making import maker_of
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.spec import Spec

HEAD = "head."


def outline(spec: Spec) -> RoutedNetwork:
    """Make a network without numbers (on the meta device): its names and shapes cost no memory and no draws.

    Raises:
        UnknownNameError: no such architecture.
        RequirementError: the architecture does not have the stem.
    """
    with torch.device("meta"):
        return maker_of(spec.arch)(spec)


def filled(spec: Spec, weights: Mapping[str, Tensor]) -> RoutedNetwork:
    """Make a network of exactly these tensors, each copied; device and dtype are theirs.

    Raises:
        RequirementError: `misfit` finds something wrong with them.
    """
    network = outline(spec)
    wrong = misfit(weights, network.state_dict())
    if wrong is not None:
        why = f"the weights do not fit {describe(spec)}: {wrong}."
        raise RequirementError(why)
    network.load_state_dict({n: t.detach().clone() for n, t in weights.items()}, strict=True, assign=True)
    return network


def misfit(weights: Mapping[str, object], needed: Mapping[str, Tensor]) -> str | None:
    """Say what keeps `weights` from being exactly the tensors of `needed`; None where nothing does.

    Names and shapes must agree, and counts be integers of the same kind; all other numbers are float32, or all float64.
    """
    lacking = [n for n in needed if n not in weights]
    beyond = [n for n in weights if n not in needed]
    if lacking or beyond:
        return " and ".join(
            f"{_some(names)} {what}" for names, what in ((lacking, "missing"), (beyond, "not in the network")) if names
        )
    for name, tensor in needed.items():
        got = weights[name]
        if not isinstance(got, Tensor):
            return f"{name!r} is a {type(got).__name__} and no tensor"
        if got.shape != tensor.shape:
            return f"{name!r} has the shape {list(got.shape)}, {list(tensor.shape)} is needed"
        if got.dtype != tensor.dtype and not (got.is_floating_point() and tensor.is_floating_point()):
            return f"{name!r} is of {got.dtype}, {tensor.dtype} is needed"
    kinds = {t.dtype for t in weights.values() if isinstance(t, Tensor) and t.is_floating_point()}
    if len(kinds) > 1 or not kinds <= {torch.float32, torch.float64}:
        return f"its numbers are of {', '.join(sorted(map(str, kinds)))}, float32 or float64 throughout is needed"
    return None


def describe(spec: Spec) -> str:
    """Name a network in a sentence."""
    head = f"{spec.classes} classes" if spec.projection is None else f"a {spec.projection}-layer projection head"
    routes = "two routes" if spec.dual_bn else "one route"
    return f"{spec.arch} for {spec.channels}×{spec.size}×{spec.size} with the {spec.stem} stem, {routes} and {head}"


def _some(names: list[str]) -> str:
    rest = len(names) - 1
    return f"{names[0]!r} " + (f"and {rest} more are" if rest else "is")
