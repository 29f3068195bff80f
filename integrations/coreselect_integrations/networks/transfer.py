"""Make a classifier from pre-trained weights, with a record of what was loaded.

The extractor and its normalisation statistics come from the weights. The classifier starts from zero, as usual for linear
and full fine-tuning of robust encoders (Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS
2020). If the number of routes changes, the statistics of one route become the only ones, or the only ones are copied to
both routes. Every tensor that is not used is recorded.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from coreselect.errors import DataError, RequirementError
from coreselect.protocols import Route
from coreselect_integrations.networks.architectures import make
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.own import OwnNetwork
from coreselect_integrations.networks.own_transfer import own_classifier
from coreselect_integrations.networks.routes import ROUTES, RoutedNetwork
from coreselect_integrations.networks.transfer_record import Transfer
from coreselect_integrations.networks.weights import HEAD, describe, empty_network, mismatch, network_from_weights
from coreselect_integrations.own_code import is_own


def classifier_from(
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    *,
    classes: int,
    dual_bn: bool = False,
    route: Route = "adversarial",
) -> tuple[RoutedNetwork, NetworkSpec, Transfer]:
    """Make a classifier from a pre-trained extractor and a head of zeros, on the device of the weights.

    Args:
        weights: named as in `RoutedNetwork.state_dict`; they are copied. The tensors of the head may be missing.
        spec: the network of the weights; images and stem stay the same.
        classes: outputs of the new head, at least 2.
        dual_bn: whether the classifier keeps statistics for two routes. From two routes to two, each route keeps its own.
            From one route to two, both start as copies of the one.
        route: whose statistics are kept from two routes to one; otherwise ignored.
    Returns:
        the classifier, in training mode; its spec; and what was loaded.
    Raises:
        DataError: a tensor of the extractor is missing, has another shape or type, or does not belong to this network.
        RequirementError: no such route, or fewer than 2 classes.
        UnknownNameError: no architecture has this name.
    """
    _check_route(route)
    if is_own(spec.arch):
        return own_classifier(weights, spec, classes=classes, dual_bn=dual_bn)
    old = _extractor(empty_network(spec).state_dict())
    given = _extractor(weights)
    wrong = mismatch(given, old)
    if wrong is not None:
        why = f"the weights do not fit {describe(spec)}: {wrong}; give the NetworkSpec they were saved with."
        raise DataError(why)
    new = replace(spec, classes=classes, projection=None, dual_bn=dual_bn)
    needed = empty_network(new).state_dict()
    sources = {n: _source(n, spec.dual_bn, dual_bn, route) for n in _extractor(needed)}
    like = given["normalise.mean"]
    head = {
        n: torch.zeros(t.shape, dtype=like.dtype, device=like.device) for n, t in needed.items() if n not in sources
    }
    network = network_from_weights(new, {**{n: given[s] for n, s in sources.items()}, **head})
    used = set(sources.values())
    return network, new, Transfer(tuple(sources), tuple(n for n in weights if n not in used), tuple(head))


def started(
    weights: Mapping[str, Tensor], spec: NetworkSpec, wanted: NetworkSpec, seed: int = 0
) -> tuple[RoutedNetwork, Transfer]:
    """Make a network for a training that begins with weights of another.

    The extractor comes from the weights, with the routes mapped as in `classifier_from`. The head comes from them if it is the
    same one, else it is drawn, as in `make`.

    Args:
        weights, spec: of the other network; copied.
        wanted: the network that is made.
        seed: decides what is drawn.
    Raises:
        DataError: a tensor of the extractor is missing or has another shape.
        RequirementError, UnknownNameError: see `make`.
    """
    network = make(wanted, seed)
    held, own = network.state_dict(), is_own(wanted.arch)
    prefix = f"{network.head_name}." if isinstance(network, OwnNetwork) else HEAD
    same = (spec.classes, spec.projection) == (wanted.classes, wanted.projection)
    source = {n: n if own else _source(n, spec.dual_bn, wanted.dual_bn, "adversarial") for n in held}
    fits = {n for n, s in source.items() if s in weights and weights[s].shape == held[n].shape}
    loaded = [n for n in held if n in fits and (same or not n.startswith(prefix))]
    lost = [n for n in held if n not in fits and not n.startswith(prefix)]
    if lost:
        why = f"the weights of {describe(spec)} do not begin {describe(wanted)}: {lost[0]!r} is missing or has another shape."
        raise DataError(why)
    with torch.no_grad():
        for name in loaded:
            held[name].copy_(weights[source[name]])  # a state dict holds the tensors themselves
    used = {source[n] for n in loaded}
    fresh = tuple(n for n in held if n not in set(loaded))
    return network, Transfer(tuple(loaded), tuple(n for n in weights if n not in used), fresh)


def one_route(
    network: RoutedNetwork, spec: NetworkSpec, route: Route = "adversarial"
) -> tuple[RoutedNetwork, NetworkSpec]:
    """Copy a network with the statistics of one route only, in encoder and head.

    In evaluation mode, the outputs of the copy are bit for bit those of `network` through `route`. A network with one
    route is copied without changes.

    Args:
        network: not changed; the copy has its device and mode.
        spec: what the network is.
        route: whose statistics to keep.
    Raises:
        RequirementError: no such route, or the network does not match `spec`.
        UnknownNameError: no architecture has this name.
    """
    _check_route(route)
    held = network.state_dict()
    wrong = mismatch(held, empty_network(spec).state_dict())
    if wrong is not None:
        why = f"the network is not {describe(spec)}: {wrong}; give the NetworkSpec it was made from."
        raise RequirementError(why)
    new = replace(spec, dual_bn=False)
    if is_own(spec.arch):  # the same tensors, always called on the adversarial route
        return network_from_weights(new, held).train(network.training), new
    copy = network_from_weights(
        new, {n: held[_source(n, spec.dual_bn, False, route)] for n in empty_network(new).state_dict()}
    )
    return copy.train(network.training), new


def _extractor(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the tensors of the head."""
    return {n: t for n, t in tensors.items() if not n.startswith(HEAD)}


def _source(name: str, from_dual: bool, to_dual: bool, route: Route) -> str:
    """Return which old tensor becomes `name`: `….norm1.shared.bias` comes from `….norm1.adversarial.bias`."""
    if from_dual == to_dual:
        return name
    kept = {"shared": route} if from_dual else dict.fromkeys(ROUTES, "shared")
    return ".".join(kept.get(part, part) for part in name.split("."))


def _check_route(route: Route) -> None:
    if route not in ROUTES:
        why = f"a route is one of {ROUTES}, got {route!r}."
        raise RequirementError(why)
