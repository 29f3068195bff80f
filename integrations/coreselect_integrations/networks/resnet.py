"""ResNet-18 in its CIFAR form: 3×3 stem, no max-pooling, optional dual-route BN and projection head.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. With dual BN and the 3-layer head it has
11,971,520 parameters: 11,168,832 in the encoder, 9,600 in its second set of normalisations, 793,088 in the head.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from coreselect.protocols import Route
from coreselect_integrations.networks.projection import Projection
from coreselect_integrations.networks.routes import Normalise, RoutedNetwork, norm

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """relu(BN(conv(relu(BN(conv(x))))) + shortcut(x)); where shapes differ, the shortcut is BN(1×1 conv)."""

    def __init__(self, incoming: int, width: int, stride: int, *, dual_bn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, padding=1, bias=False)
        self.norm1 = norm(width, dual=dual_bn)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width, dual=dual_bn)
        same = stride == 1 and incoming == width
        self.down = None if same else nn.Conv2d(incoming, width, 1, stride, bias=False)
        self.down_norm = None if same else norm(width, dual=dual_bn)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, incoming, H, W] → [B, width, H / stride, W / stride]."""
        out = self.norm1(self.conv1(x), route).relu()
        out = self.norm2(self.conv2(out), route)
        if self.down is not None and self.down_norm is not None:
            x = self.down_norm(self.down(x), route)
        return (out + x).relu()


class ResNet18(RoutedNetwork):
    """Four stages of two blocks, widths 64 to 512, strides 1, 2, 2, 2; see `resnet18`."""

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        dual_bn: bool,
        projection: int | None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.dual_bn = dual_bn
        self.normalise = Normalise(channels, mean, std)
        self.stem = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.norm = norm(WIDTHS[0], dual=dual_bn)
        blocks: list[BasicBlock] = []
        incoming = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            blocks.append(BasicBlock(incoming, width, 2 if stage else 1, dual_bn=dual_bn))
            blocks.append(BasicBlock(width, width, 1, dual_bn=dual_bn))
            incoming = width
        self.blocks = nn.ModuleList(blocks)
        if projection is None:
            self.head = nn.Linear(incoming, classes)
        else:
            self.head = Projection(incoming, layers=projection, dual_bn=dual_bn)

    def features(self, x: Tensor, route: Route) -> Tensor:
        """Normalised [B, C, H, W] → [B, 512]."""
        x = self.norm(self.stem(x), route).relu()
        for block in self.blocks:
            x = block(x, route)
        return x.mean((-2, -1))


def resnet18(
    classes: int = 10,
    channels: int = 3,
    dual_bn: bool = False,
    projection: int | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> ResNet18:
    """Make a ResNet-18 for small images.

    Args:
        classes: outputs of the linear head; without effect when there is a projection head.
        channels: C of the images.
        dual_bn: two sets of normalisation statistics, chosen by the `route` argument of each forward.
        projection: 2 or 3 for a projection head 512 → 512 of so many layers; None for a linear classifier.
        mean, std: per channel, of pixels in [0, 1]; None as `Normalise` says.
    """
    return ResNet18(channels=channels, classes=classes, dual_bn=dual_bn, projection=projection, mean=mean, std=std)
