"""Networks of the user's: a function that makes an `nn.Module` becomes an architecture like those of `ARCHITECTURES`."""

import torch
from torch import Tensor, nn

from coreselect.errors import DataError, HeadError, RequirementError, first_few
from coreselect.network.frozen import refuse_meta
from coreselect.network.modes import evaluating
from coreselect.network.network import run
from coreselect.network.routes import routed_call
from coreselect.network.split import split
from coreselect.network.split_checks import unmade_parameters
from coreselect.protocols import Route
from coreselect.support.factories import called_with
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.routes import RoutedNetwork, route_call
from coreselect_integrations.own_code import admitted

WHAT, OPTION = "network", "--model"


class OwnNetwork(RoutedNetwork):
    """A module of the user's, [B, C, H, W] in [0, 1] → [B, outputs], called with the route if its `forward` takes one.

    Where the module returns an object with `logits`, these are the outputs, see `coreselect.network.network.run`.
    Its head is found by running it, see `coreselect.network.split`.

    Args:
        model: the module; the object itself is used.
        spec: what it was made for. With one route, a module that takes routes is always called on the adversarial one.
    Raises:
        HeadError: the names of its routes cannot be recognised, or it takes none and `spec` names some.
    """

    keeps_layout = True  # see `coreselect.network.placing`

    def __init__(self, model: nn.Module, spec: NetworkSpec) -> None:
        super().__init__()
        self.model, self.spec, self.dual_bn = model, spec, spec.dual_bn
        self.routed = routed_call(model, None if spec.routes is None else spec.routes.split(","))
        self._head: str | None = None

    @property
    def probe(self) -> Tensor:
        """Two black images, [2, C, H, W]."""
        like = next((p for p in self.parameters() if p.is_floating_point()), torch.zeros(1))
        return torch.zeros(2, self.spec.channels, self.spec.size, self.spec.size, device=like.device, dtype=like.dtype)

    @property
    def head_name(self) -> str:
        """The name of the submodule that is the head.

        Raises:
            HeadError: none can be found.
        """
        if self._head is None:
            with evaluating(self):
                found = split(self, route_call, self.probe)
            name = getattr(found, "name", None)
            if not name:
                why = f"no head was found in the network of {self.spec.arch}: let its last layer be an nn.Linear of its own."
                raise HeadError(why)
            self._head = str(name)
        return self._head

    @property
    def head(self) -> nn.Module:  # type: ignore[override]  # found, not declared
        """The head."""
        return self.get_submodule(self.head_name)

    def represent(self, x: Tensor, route: Route | None = None) -> Tensor:
        """[B, C, H, W] in [0, 1] → what the head reads, [B, D]."""
        kept: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
        try:
            self(x, route)
        finally:
            handle.remove()
        return kept[-1].flatten(1)

    def forward(self, x: Tensor, route: Route | None = None) -> Tensor:
        """[B, C, H, W] in [0, 1] → logits or representations [B, outputs]; for `route` see `RoutedNetwork`."""
        route = self._check_route(route)
        if self.routed is None:
            return run(self.model, x, {})
        return self.routed(self.model, x, route if self.dual_bn else "adversarial")


def make_own(spec: NetworkSpec) -> OwnNetwork:
    """Make a network by the user's function, called with those of `classes`, `channels` and `size` that it names.

    `classes` is None for the encoder of a contrastive system.

    Raises:
        RequirementError: the function was not given, or has another text now; or the parameters are on the device `meta`.
        DataError: it fails, or returns no module, or one with lazy layers or in half precision.
    """
    function = admitted(spec.arch, WHAT, OPTION)
    known = {"classes": spec.classes, "channels": spec.channels, "size": spec.size}
    try:
        model = called_with(function, known)
    except Exception as why:  # the code of the user may raise anything
        said = " ".join(str(why).split())[:200]
        raise DataError(f"the function {spec.arch} failed ({type(why).__name__}: {said}).") from why
    if not isinstance(model, nn.Module):
        why = f"the function {spec.arch} returned a {type(model).__name__}, a torch.nn.Module is needed."
        raise DataError(why)
    refuse_meta(model)
    _refuse_kinds(model, spec)
    return OwnNetwork(model, spec)


def _refuse_kinds(model: nn.Module, spec: NetworkSpec) -> None:
    """Refuse what a file of a network cannot hold, before it is trained.

    Raises:
        DataError: layers have no parameters yet, or the parameters are in half precision or of two precisions.
    """
    unmade = unmade_parameters(model)
    if unmade:
        raise DataError(
            f"the network of {spec.arch} has lazy layers whose parameters are not made yet ({first_few(unmade, 3)}): let the "
            "function run one image through it before it returns it."
        )
    kinds = {part.dtype for part in (*model.parameters(), *model.buffers()) if part.is_floating_point()}
    if len(kinds) > 1 or not kinds <= {torch.float32, torch.float64}:
        raise DataError(
            f"the network of {spec.arch} has parameters in {', '.join(sorted(map(str, kinds)))}, and float32 for all, or float64 "
            "for all, is needed: --precision bf16 computes in half precision where that is safe."
        )


def check_outputs(network: RoutedNetwork) -> None:
    """Run a network of the user's on two images.

    Raises:
        DataError: it fails on images of this shape, or gives no matrix.
        RequirementError: a classifier has another number of outputs than there are classes.
    """
    if not isinstance(network, OwnNetwork):
        return
    spec = network.spec
    try:
        with evaluating(network), torch.no_grad():
            out = network(network.probe, "adversarial")  # [2, outputs]
    except Exception as why:  # the code of the user may raise anything
        said = " ".join(str(why).split())[:200]
        shape = f"{spec.channels} channels and {spec.size} pixels"
        raise DataError(
            f"the network of {spec.arch} fails on images of {shape} ({type(why).__name__}: {said})."
        ) from why
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != 2:
        got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise DataError(
            f"the network of {spec.arch} gives {got} for two images: a tensor with one row for each "
            "image is needed, or an object with such `logits`."
        )
    if spec.classes is not None and out.shape[1] != spec.classes:
        why = (
            f"the network of {spec.arch} has {out.shape[1]} outputs and the data have {spec.classes} classes: let the function "
            "take `classes`, which it is called with."
        )
        raise RequirementError(why)
