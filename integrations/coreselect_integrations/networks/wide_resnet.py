"""Wide residual networks with pre-activation, without dropout; WRN-28-10 has 36,479,194 parameters.

    x + conv3×3(relu(BN(conv3×3(relu(BN(x))))))     n = (depth − 4) / 6 times in each of three groups with 16k, 32k, 64k maps

Source: Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016. Convolutions are initialised as in
He et al., "Delving Deep into Rectifiers", ICCV 2015: normal with variance 2 / (kernel² · maps out). The biases of the
classifier start at zero.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.protocols import Route
from coreselect_integrations.networks.heads import head_of
from coreselect_integrations.networks.routes import Normalise, RoutedNetwork, norm

STEM = 16


class WideBlock(nn.Module):
    """conv(relu(BN(conv(o)))) + shortcut with o = relu(BN(x)); the shortcut is x, or conv1×1(o) if shapes differ."""

    def __init__(self, incoming: int, width: int, stride: int, *, dual_bn: bool) -> None:
        super().__init__()
        self.norm1 = norm(incoming, dual=dual_bn)
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, padding=1, bias=False)
        self.norm2 = norm(width, dual=dual_bn)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        same = stride == 1 and incoming == width
        self.down = None if same else nn.Conv2d(incoming, width, 1, stride, bias=False)

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, incoming, H, W] → [B, width, H / stride, W / stride]."""
        o = self.norm1(x, route).relu()  # [B, incoming, H, W]
        out = self.conv2(self.norm2(self.conv1(o), route).relu())
        return out + (x if self.down is None else self.down(o))


class WideResNet(RoutedNetwork):
    """A 3×3 stem with 16 maps, three groups with strides 1, 2, 2, then BN and ReLU; see `wide_resnet`."""

    def __init__(
        self,
        *,
        depth: int,
        factor: int,
        channels: int,
        classes: int,
        dual_bn: bool,
        projection: int | None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or factor < 1:
            why = (
                "a wide residual network needs a depth of 6n + 4, at least 10, and a factor of at least 1, "
                f"got {depth} and {factor}."
            )
            raise RequirementError(why)
        self.dual_bn = dual_bn
        self.normalise = Normalise(channels, mean, std)
        self.stem = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
        blocks: list[WideBlock] = []
        incoming = STEM
        for group in range(3):
            width = STEM * factor * 2**group
            for i in range((depth - 4) // 6):
                blocks.append(WideBlock(incoming, width, 2 if group and not i else 1, dual_bn=dual_bn))
                incoming = width
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm(incoming, dual=dual_bn)
        self.width = incoming
        self.head = head_of(incoming, classes=classes, projection=projection, dual_bn=dual_bn)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, route: Route) -> Tensor:
        """Normalised [B, C, H, W] → [B, D], D = 64 · factor."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, route)
        return self.norm(x, route).relu().mean((-2, -1))


def wide_resnet(
    depth: int = 28,
    factor: int = 10,
    classes: int = 10,
    channels: int = 3,
    dual_bn: bool = False,
    projection: int | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> WideResNet:
    """Make a wide residual network for small images.

    Args:
        depth: 6n + 4 layers, with n ≥ 1 blocks in each group.
        factor: k ≥ 1; the groups have 16k, 32k and 64k maps, so D = 64k.
        classes: outputs of the linear head; ignored with a projection head.
        channels: C of the images.
        dual_bn: two sets of normalisation statistics; the `route` of each forward pass chooses one.
        projection: 2 or 3, the layers of a projection head D → D; None for a linear classifier.
        mean, std: one number for each channel, of pixels in [0, 1]; for None see `Normalise`.
    Raises:
        RequirementError: no network has this depth, factor or projection head, or the mean or std has a wrong length.
    """
    return WideResNet(
        depth=depth, factor=factor, channels=channels, classes=classes, dual_bn=dual_bn, projection=projection,
        mean=mean, std=std,
    )  # fmt: skip
