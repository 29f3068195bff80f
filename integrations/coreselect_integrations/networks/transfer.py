"""Pre-trained weights as a classifier, and a record of exactly what was loaded.

The extractor, its normalisation statistics included, comes from the weights; the classifier starts from zero, as is
usual for linear and full fine-tuning of robust encoders (Jiang et al., "Robust Pre-Training by Adversarial Contrastive
Learning", NeurIPS 2020). Where the number of routes differs, one route's statistics become the only ones, or the only
ones become both routes'. Nothing is ever skipped in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coreselect.errors import DataError, RequirementError
from coreselect.protocols import Route
from coreselect_integrations.networks.routes import ROUTES, RoutedNetwork
from coreselect_integrations.networks.spec import Spec
from coreselect_integrations.networks.weights import HEAD, describe, filled, misfit, outline


@dataclass(frozen=True, slots=True)
class Transfer:
    """What went where.

    `loaded` are the tensors of the new network that came from the weights, `fresh` those that did not (its head alone);
    `left_out` are the tensors of the weights that nothing was made of: the old head, and the other route's statistics
    where one is kept.
    """

    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    fresh: tuple[str, ...]


def classifier_from(
    weights: Mapping[str, Tensor],
    spec: Spec,
    *,
    classes: int,
    dual_bn: bool = False,
    route: Route = "adversarial",
) -> tuple[RoutedNetwork, Spec, Transfer]:
    """Make a classifier of a pre-trained extractor and a head of zeros, on the device of the weights.

    Args:
        weights: named as in `RoutedNetwork.state_dict`; copied. The tensors of the head need not be there.
        spec: the network the weights are of; images and stem stay as they were.
        classes: outputs of the new head, at least 2.
        dual_bn: whether the classifier keeps statistics for two routes. From two routes to two, each keeps its own;
            from one to two, both begin as the one.
        route: whose statistics are taken from two routes to one; without effect otherwise.
    Returns:
        the classifier, in training mode; what it is; and what was loaded.
    Raises:
        DataError: a tensor of the extractor is missing, of another shape or kind, or not of this network.
        RequirementError: no such route, or fewer than 2 classes.
        UnknownNameError: no such architecture.
    """
    _check_route(route)
    old = _extractor(outline(spec).state_dict())
    held = _extractor(weights)
    wrong = misfit(held, old)
    if wrong is not None:
        why = f"the weights do not fit {describe(spec)}: {wrong}; give the Spec they were saved with."
        raise DataError(why)
    new = replace(spec, classes=classes, projection=None, dual_bn=dual_bn)
    needed = outline(new).state_dict()
    sources = {n: _source(n, spec.dual_bn, dual_bn, route) for n in _extractor(needed)}
    kind = held["normalise.mean"]
    head = {
        n: torch.zeros(t.shape, dtype=kind.dtype, device=kind.device) for n, t in needed.items() if n not in sources
    }
    network = filled(new, {**{n: held[s] for n, s in sources.items()}, **head})
    used = set(sources.values())
    return network, new, Transfer(tuple(sources), tuple(n for n in weights if n not in used), tuple(head))


def one_route(network: RoutedNetwork, spec: Spec, route: Route = "adversarial") -> tuple[RoutedNetwork, Spec]:
    """Copy a network with the statistics of one route only, in encoder and head.

    In evaluation mode its outputs are, bit for bit, those of `network` through `route`. A network that has one route
    already is copied as it is.

    Args:
        network: is not changed; the copy is on its device and in its mode.
        spec: what it is.
        route: whose statistics to keep.
    Raises:
        RequirementError: no such route, or the network is not what `spec` says.
        UnknownNameError: no such architecture.
    """
    _check_route(route)
    held = network.state_dict()
    wrong = misfit(held, outline(spec).state_dict())
    if wrong is not None:
        why = f"the network is not {describe(spec)}: {wrong}; give the Spec it was made from."
        raise RequirementError(why)
    new = replace(spec, dual_bn=False)
    copy = filled(new, {n: held[_source(n, spec.dual_bn, False, route)] for n in outline(new).state_dict()})
    return copy.train(network.training), new


def _extractor(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: t for n, t in tensors.items() if not n.startswith(HEAD)}


def _source(name: str, from_dual: bool, to_dual: bool, route: Route) -> str:
    """Where the tensor `name` of the new network comes from: `….norm1.shared.bias` from `….norm1.adversarial.bias`."""
    if from_dual == to_dual:
        return name
    kept = {"shared": route} if from_dual else dict.fromkeys(ROUTES, "shared")
    return ".".join(kept.get(part, part) for part in name.split("."))


def _check_route(route: Route) -> None:
    if route not in ROUTES:
        why = f"a route is one of {ROUTES}, got {route!r}."
        raise RequirementError(why)
