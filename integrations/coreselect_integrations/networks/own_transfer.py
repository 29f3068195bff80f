"""Make a classifier of the user's own network from weights of the same code, whatever its head was there."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from coreselect.errors import DataError, RequirementError
from coreselect_integrations.networks.architectures import make
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.own import OwnNetwork
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.transfer_record import Transfer


def own_classifier(
    weights: Mapping[str, Tensor], spec: NetworkSpec, *, classes: int, dual_bn: bool
) -> tuple[RoutedNetwork, NetworkSpec, Transfer]:
    """Call the user's function for so many classes, load every tensor outside the head by its name, and begin the head at zero.

    Args:
        weights, spec, classes, dual_bn: see `transfer.classifier_from`. A network that takes routes keeps its statistics of
            both; with one route it is called on the adversarial one.
    Raises:
        DataError: a tensor outside the head is not among the weights, or has another shape.
        RequirementError: two routes are asked of a network that was trained on one.
    """
    new = replace(spec, classes=classes, projection=None, dual_bn=dual_bn)
    network = make(new)
    assert isinstance(network, OwnNetwork)  # code of the user
    if network.routed is not None and dual_bn and not spec.dual_bn:
        why = (
            f"the network of {spec.arch} was trained on one route, and two are needed here: fine-tune with --loss sat."
        )
        raise RequirementError(why)
    like = next(t for t in weights.values() if t.is_floating_point())
    network.to(like.device, like.dtype)
    held, head = network.state_dict(), f"{network.head_name}."
    loaded = [name for name in held if not name.startswith(head)]
    wrong = [name for name in loaded if name not in weights or weights[name].shape != held[name].shape]
    if wrong:
        why = (
            f"the weights do not fit the network of {spec.arch} for {classes} classes: {wrong[0]!r}"
            f"{f' and {len(wrong) - 1} more are' if len(wrong) > 1 else ' is'} missing or of another shape; only the head may "
            "depend on `classes`."
        )
        raise DataError(why)
    fresh = [name for name in held if name.startswith(head)]
    network.load_state_dict({**{n: weights[n] for n in loaded}, **{n: torch.zeros_like(held[n]) for n in fresh}})
    left_out = tuple(name for name in weights if name not in set(loaded))
    return network.train(), new, Transfer(tuple(loaded), left_out, tuple(fresh))
