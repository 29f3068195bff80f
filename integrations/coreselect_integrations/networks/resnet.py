"""ResNet-18, 34 and 50 with a stem for small or large images, and optionally two routes and a projection head.

    relu(F(x) + shortcut(x))     F: two 3×3 convolutions (18, 34), or 1×1, 3×3, 1×1 with the stride on the 3×3 (50)

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the 3×3 stem without
pooling is usual in the field for images of 32 pixels. ResNet-18 with dual BN and the 3-layer head has 11,971,520 parameters:
11,168,832 in the encoder, 9,600 in its second set of normalisations, 793,088 in the head.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.protocols import Route
from coreselect_integrations.networks.heads import head_of
from coreselect_integrations.networks.routes import Normalise, RoutedNetwork, norm

STEMS = ("cifar", "imagenet")
WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """relu(residual(x) + shortcut(x)); the shortcut is x, or BN(conv1×1(x)) if shapes differ."""

    expansion = 1
    down: nn.Conv2d | None
    down_norm: nn.Module | None

    def residual(self, x: Tensor, route: Route) -> Tensor:
        """[B, incoming, H, W] → [B, expansion · width, H / stride, W / stride]."""
        raise NotImplementedError

    def forward(self, x: Tensor, route: Route) -> Tensor:
        """[B, incoming, H, W] → [B, expansion · width, H / stride, W / stride]."""
        out = self.residual(x, route)
        if self.down is not None and self.down_norm is not None:
            x = self.down_norm(self.down(x), route)
        return (out + x).relu()

    def _add_shortcut(self, incoming: int, outgoing: int, stride: int, dual_bn: bool) -> None:
        same = stride == 1 and incoming == outgoing
        self.down = None if same else nn.Conv2d(incoming, outgoing, 1, stride, bias=False)
        self.down_norm = None if same else norm(outgoing, dual=dual_bn)


class BasicBlock(Block):
    """residual(x) = BN(conv3×3(relu(BN(conv3×3(x)))))."""

    def __init__(self, incoming: int, width: int, stride: int, *, dual_bn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, padding=1, bias=False)
        self.norm1 = norm(width, dual=dual_bn)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width, dual=dual_bn)
        self._add_shortcut(incoming, width, stride, dual_bn)

    def residual(self, x: Tensor, route: Route) -> Tensor:
        out = self.norm1(self.conv1(x), route).relu()
        return self.norm2(self.conv2(out), route)


class Bottleneck(Block):
    """residual(x) = BN(conv1×1(relu(BN(conv3×3(relu(BN(conv1×1(x)))))))), the last convolution four times as wide."""

    expansion = 4

    def __init__(self, incoming: int, width: int, stride: int, *, dual_bn: bool) -> None:
        super().__init__()
        outgoing = width * self.expansion
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.norm1 = norm(width, dual=dual_bn)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = norm(width, dual=dual_bn)
        self.conv3 = nn.Conv2d(width, outgoing, 1, bias=False)
        self.norm3 = norm(outgoing, dual=dual_bn)
        self._add_shortcut(incoming, outgoing, stride, dual_bn)

    def residual(self, x: Tensor, route: Route) -> Tensor:
        out = self.norm1(self.conv1(x), route).relu()
        out = self.norm2(self.conv2(out), route).relu()
        return self.norm3(self.conv3(out), route)


class ResNet(RoutedNetwork):
    """Four stages of blocks, with widths of 64 to 512 times the block's expansion and strides 1, 2, 2, 2; see `resnet18`.

    Raises:
        RequirementError: there is no such stem.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        *,
        channels: int,
        classes: int,
        dual_bn: bool,
        projection: int | None,
        stem: str = "cifar",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            why = f"a ResNet's stem is one of {STEMS}, got {stem!r}."
            raise RequirementError(why)
        self.dual_bn = dual_bn
        self.pooled = stem == "imagenet"
        self.normalise = Normalise(channels, mean, std)
        kernel, stride = (7, 2) if self.pooled else (3, 1)
        self.stem = nn.Conv2d(channels, WIDTHS[0], kernel, stride, padding=kernel // 2, bias=False)
        self.norm = norm(WIDTHS[0], dual=dual_bn)
        blocks: list[Block] = []
        incoming = WIDTHS[0]
        for stage, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            for i in range(depth):
                blocks.append(block(incoming, width, 2 if stage and not i else 1, dual_bn=dual_bn))
                incoming = width * block.expansion
        self.blocks = nn.ModuleList(blocks)
        self.width = incoming
        self.head = head_of(incoming, classes=classes, projection=projection, dual_bn=dual_bn)

    def features(self, x: Tensor, route: Route) -> Tensor:
        """Normalised [B, C, H, W] → [B, D], D = 512 · expansion."""
        x = self.norm(self.stem(x), route).relu()
        if self.pooled:
            x = F.max_pool2d(x, 3, 2, padding=1)  # [B, 64, H / 4, W / 4]
        for block in self.blocks:
            x = block(x, route)
        return x.mean((-2, -1))


ARGUMENTS = """

    Args:
        classes: outputs of the linear head; ignored with a projection head.
        channels: C of the images.
        dual_bn: two sets of normalisation statistics; the `route` of each forward pass chooses one.
        projection: 2 or 3, the layers of a projection head D → D; None for a linear classifier.
        stem: `cifar` is a 3×3 convolution, for images of about 32 pixels. `imagenet` is a 7×7 convolution of stride 2 and a
            3×3 max-pooling of stride 2, for larger images, usually 96 pixels or more.
        mean, std: one number for each channel, of pixels in [0, 1]; for None see `Normalise`.
    Raises:
        RequirementError: there is no such stem or projection head, or the mean or std has a wrong length.
    """


def _maker(name: str, block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], summary: str):
    """Return a function that makes the ResNet with these blocks in its four stages; its type is that of `make` below."""

    def make(
        classes: int = 10,
        channels: int = 3,
        dual_bn: bool = False,
        projection: int | None = None,
        *,
        stem: str = "cifar",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> ResNet:
        return ResNet(
            block, depths, channels=channels, classes=classes, dual_bn=dual_bn, projection=projection,
            stem=stem, mean=mean, std=std,
        )  # fmt: skip

    make.__name__ = make.__qualname__ = name
    make.__doc__ = summary + ARGUMENTS
    return make


resnet18 = _maker("resnet18", BasicBlock, (2, 2, 2, 2), "Make a ResNet-18: two basic blocks in each stage, D = 512.")
resnet34 = _maker("resnet34", BasicBlock, (3, 4, 6, 3), "Make a ResNet-34: 3, 4, 6 and 3 basic blocks, D = 512.")
resnet50 = _maker("resnet50", Bottleneck, (3, 4, 6, 3), "Make a ResNet-50: 3, 4, 6 and 3 bottlenecks, D = 2048.")
