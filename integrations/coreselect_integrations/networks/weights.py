"""Check whether named tensors fit a network before the network is made, and make the network from them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.support.seeding import rng_kept
from coreselect_integrations.networks.architectures import maker_of
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.own_code import is_own

HEAD = "head."


def empty_network(spec: NetworkSpec) -> RoutedNetwork:
    """Make a network without values (on the meta device): it has names and shapes, but uses no memory and no random draws.

    A network of the user's is made whole, because its code may read values; random states do not change.

    Raises:
        UnknownNameError: no architecture has this name.
        RequirementError: the architecture does not have this stem.
    """
    if is_own(spec.arch):
        with rng_kept(), torch.device("cpu"):
            return maker_of(spec.arch)(spec)
    with torch.device("meta"):
        return maker_of(spec.arch)(spec)


def network_from_weights(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> RoutedNetwork:
    """Make a network from copies of exactly these tensors, with their device and dtype.

    Raises:
        RequirementError: the tensors do not fit (see `mismatch`).
    """
    network = empty_network(spec)
    wrong = mismatch(weights, network.state_dict())
    if wrong is not None:
        why = f"the weights do not fit {describe(spec)}: {wrong}."
        raise RequirementError(why)
    network.load_state_dict({n: t.detach().clone() for n, t in weights.items()}, strict=True, assign=True)
    return network


def mismatch(weights: Mapping[str, object], needed: Mapping[str, Tensor]) -> str | None:
    """Say how `weights` differ from the tensors of `needed`; None if they fit.

    Names and shapes must be the same. Integer tensors must have the same type. All others must be float32, or all float64.
    """
    missing = [n for n in needed if n not in weights]
    extra = [n for n in weights if n not in needed]
    if missing or extra:
        return " and ".join(
            f"{_some(names)} {what}" for names, what in ((missing, "missing"), (extra, "not in the network")) if names
        )
    for name, tensor in needed.items():
        got = weights[name]
        if not isinstance(got, Tensor):
            return f"{name!r} is a {type(got).__name__}, not a tensor"
        if got.shape != tensor.shape:
            return f"{name!r} has the shape {list(got.shape)}, but {list(tensor.shape)} is needed"
        if got.dtype != tensor.dtype and not (got.is_floating_point() and tensor.is_floating_point()):
            return f"{name!r} has the type {got.dtype}, but {tensor.dtype} is needed"
    dtypes = {t.dtype for t in weights.values() if isinstance(t, Tensor) and t.is_floating_point()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        return f"the tensors have the types {', '.join(sorted(map(str, dtypes)))}, but float32 for all or float64 for all is needed"
    return None


def describe(spec: NetworkSpec) -> str:
    """Describe a network in words, for messages."""
    head = f"{spec.classes} classes" if spec.projection is None else f"a {spec.projection}-layer projection head"
    routes = "two routes" if spec.dual_bn else "one route"
    return f"{spec.arch} for {spec.channels}×{spec.size}×{spec.size} with the {spec.stem} stem, {routes} and {head}"


def _some(names: list[str]) -> str:
    """Write the first name, and how many there are besides."""
    rest = len(names) - 1
    return f"{names[0]!r} " + (f"and {rest} more are" if rest else "is")
