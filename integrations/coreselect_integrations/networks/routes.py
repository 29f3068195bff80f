"""Networks with one or two routes: batch normalisation with one set of statistics, or one set for each route.

An argument of each forward pass chooses the route.

Source: auxiliary batch norm, Xie et al., "Adversarial Examples Improve Image Recognition", CVPR 2020; used for
adversarial contrastive learning by Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS
2020.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coreselect.errors import RequirementError, ShapeError
from coreselect.protocols import Route

ROUTES: tuple[Route, Route] = ("natural", "adversarial")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class OneNorm(nn.Module):
    """Normalise both routes by the same statistics."""

    def __init__(self, width: int, *, spatial: bool) -> None:
        super().__init__()
        self.shared = nn.BatchNorm2d(width) if spatial else nn.BatchNorm1d(width)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, width, …] → the same shape."""
        del route
        return self.shared(x)


class DualNorm(nn.Module):
    """Normalise each route by its own statistics, scales and shifts."""

    def __init__(self, width: int, *, spatial: bool) -> None:
        super().__init__()
        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        self.natural = kind(width)
        self.adversarial = kind(width)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, width, …] → the same shape, by the statistics of `route`."""
        return self.natural(x) if route == "natural" else self.adversarial(x)


def norm(width: int, *, dual: bool, spatial: bool = True) -> OneNorm | DualNorm:
    """Make the normalisation of one layer, for [B, width, H, W] if `spatial`, else for [B, width]."""
    return DualNorm(width, spatial=spatial) if dual else OneNorm(width, spatial=spatial)


class Normalise(nn.Module):
    """Shift and scale channels inside the network, so that inputs and attacks use pixels in [0, 1].

    Args:
        channels: C.
        mean, std: C numbers each, std positive. None means those of ImageNet for three channels, else 0.5 and 0.25.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        mean = mean or (IMAGENET_MEAN if channels == 3 else (0.5,) * channels)
        std = std or (IMAGENET_STD if channels == 3 else (0.25,) * channels)
        if len(mean) != channels or len(std) != channels:
            why = f"mean and std need {channels} numbers each, one for each channel, got {len(mean)} and {len(std)}."
            raise RequirementError(why)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))  # [C, 1, 1]
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] in [0, 1] → the same shape, centred near zero."""
        return (x - self.mean) / self.std


class RoutedNetwork(nn.Module):
    """A network of pixels → features → head, each forward pass through one route.

    Subclasses define `features` and `width`, the D of the features. `head` is the last submodule, so its output is the
    output of the network.
    """

    normalise: Normalise
    head: nn.Module
    dual_bn: bool
    width: int

    def features(self, x: Tensor, route: Route) -> Tensor:
        """Normalised [B, C, H, W] → [B, D]."""
        raise NotImplementedError

    def represent(self, x: Tensor, route: Route | None = None) -> Tensor:
        """[B, C, H, W] in [0, 1] → features [B, D], the input of the head.

        For arguments and errors see `forward`.
        """
        if x.dim() != 4 or x.shape[1] != len(self.normalise.mean):
            why = (
                f"this network takes images [B, {len(self.normalise.mean)}, H, W], got {list(x.shape)}: check the data."
            )
            raise ShapeError(why)
        return self.features(self.normalise(x), self._check_route(route))

    def forward(self, x: Tensor, route: Route | None = None) -> Tensor:
        """[B, C, H, W] in [0, 1] → logits or representations [B, outputs].

        Args:
            x: pixels.
            route: whose statistics to use; needed with two routes, ignored with one.
        Raises:
            RequirementError: the network has two routes, and `route` is not one of them.
            ShapeError: x is not a batch of images with the network's channels.
        """
        features = self.represent(x, route)  # [B, D]
        return (
            self.head(features) if isinstance(self.head, nn.Linear) else self.head(features, self._check_route(route))
        )

    def _check_route(self, route: Route | None) -> Route:
        if self.dual_bn and route not in ROUTES:
            why = f"this network has two routes: call it with a route of {ROUTES}, got {route!r}."
            raise RequirementError(why)
        return route or "natural"


def route_call(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a network with its route: pass it as `call=` to a `Task`, `evaluate` and the contrastive loop."""
    return model(x, route)
