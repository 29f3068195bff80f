"""A small network of four convolutions, global average pooling and a head; 243,146 parameters for 3×32×32."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from coreselect.protocols import Route
from coreselect_integrations.networks.heads import head_of
from coreselect_integrations.networks.routes import Normalise, RoutedNetwork, norm

WIDTHS = (32, 64, 128, 128)


class SmallConv(RoutedNetwork):
    """Four convolutions with BN and ReLU; see `small_conv` and `small_conv_contrastive`.

    The first h = round(log₂(size / 4)) convolutions, at most 3, halve the image, so the last map is about 4×4: images of
    32 and 28 pixels are halved three times, images of 8 pixels once. The first kernel is 4×4 if it halves; all others are
    3×3.
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        classes: int | None = None,
        dual_bn: bool = False,
        projection: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        halvings = min(3, max(0, round(math.log2(size / 4))))
        kernels = (4 if halvings else 3, 3, 3, 3)
        incoming = (channels, *WIDTHS[:-1])
        self.dual_bn = dual_bn
        self.normalise = Normalise(channels, mean, std)
        self.convs = nn.ModuleList(
            nn.Conv2d(c, w, kernel, 2 if i < halvings else 1, padding=1, bias=False)
            for i, (c, w, kernel) in enumerate(zip(incoming, WIDTHS, kernels, strict=True))
        )
        self.norms = nn.ModuleList(norm(w, dual=dual_bn) for w in WIDTHS)
        self.width = WIDTHS[-1]
        self.head = head_of(self.width, classes=classes or 10, projection=projection, dual_bn=dual_bn)

    def features(self, x: Tensor, route: Route) -> Tensor:
        """Normalised [B, C, H, W] → [B, 128]."""
        for conv, normalise in zip(self.convs, self.norms, strict=True):
            x = normalise(conv(x), route).relu()
        return x.mean((-2, -1))


def small_conv(
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> SmallConv:
    """Make a small classifier of square images.

    Args:
        classes: outputs, at least 2.
        channels, size: C and H = W of the images, size at least 4; usual sizes are 8 (digits), 28 and 32.
        mean, std: one number for each channel, of pixels in [0, 1]; for None see `Normalise`.
    """
    return SmallConv(channels=channels, size=size, classes=classes, mean=mean, std=std)


def small_conv_contrastive(
    channels: int = 3,
    size: int = 32,
    *,
    projection: int = 3,
    dual_bn: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> SmallConv:
    """Make the same encoder with two routes and a projection head 128 → 128, small enough to train on a CPU."""
    return SmallConv(channels=channels, size=size, dual_bn=dual_bn, projection=projection, mean=mean, std=std)
