"""Networks with the structure and the names of the published programs, with random weights, for files as they are published."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Names = tuple[str, ...] | None  # of the sets of normalisations; None is one set without a list


class Norms(nn.Module):
    """One or several normalisations in `bn_list`, chosen by name."""

    def __init__(self, width: int, names: Names, kind: Any = nn.BatchNorm2d) -> None:
        super().__init__()
        self.names = names
        self.bn_list = nn.ModuleList(kind(width) for _ in names or ())

    def forward(self, x: Tensor, name: str | None) -> Tensor:
        assert self.names is not None
        return self.bn_list[self.names.index(str(name))](x)


def norm(width: int, names: Names, kind: Any = nn.BatchNorm2d) -> nn.Module:
    return kind(width) if names is None else Norms(width, names, kind)


def normed(layer: nn.Module, x: Tensor, name: str | None) -> Tensor:
    return layer(x, name) if isinstance(layer, Norms) else layer(x)


class Down(nn.Module):
    """A shortcut of a network with several sets of normalisations: `conv` and `bn`."""

    def __init__(self, incoming: int, outgoing: int, stride: int, names: Names) -> None:
        super().__init__()
        self.conv = nn.Conv2d(incoming, outgoing, 1, stride, bias=False)
        self.bn = norm(outgoing, names)

    def forward(self, x: Tensor, name: str | None) -> Tensor:
        return normed(self.bn, self.conv(x), name)


class Block(nn.Module):
    """A block of two or three convolutions; its shortcut is called `downsample`, or `shortcut` in RobustBench."""

    def __init__(self, incoming: int, width: int, stride: int, names: Names, bottleneck: bool, shortcut: str) -> None:
        super().__init__()
        outgoing = width * (4 if bottleneck else 1)
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (width, width, outgoing) if bottleneck else (width, width)
        self.count, self.shortcut_name, before = len(kernels), shortcut, incoming
        for i, (kernel, w) in enumerate(zip(kernels, widths, strict=True), 1):
            step = stride if i == (2 if bottleneck else 1) else 1
            self.add_module(f"conv{i}", nn.Conv2d(before, w, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i}", norm(w, names))
            before = w
        if stride != 1 or incoming != outgoing:
            both = (nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing))
            self.add_module(
                shortcut, nn.Sequential(*both) if names is None else Down(incoming, outgoing, stride, names)
            )
        elif shortcut == "shortcut":
            self.shortcut = nn.Sequential()

    def forward(self, x: Tensor, name: str | None) -> Tensor:
        out = x
        for i in range(1, self.count + 1):
            out = normed(getattr(self, f"bn{i}"), getattr(self, f"conv{i}")(out), name)
            out = F.relu(out) if i < self.count else out
        down = getattr(self, self.shortcut_name, None)
        return F.relu(out + (x if down is None else down(x, name) if isinstance(down, Down) else down(x)))


class ProjHead(nn.Module):
    """fc1 (with a bias), bn1, ReLU, fc2, bn2, and once more with three layers."""

    def __init__(self, width: int, names: Names, layers: int = 3) -> None:
        super().__init__()
        self.layers = layers
        for i in range(1, layers + 1):
            self.add_module(f"fc{i}", nn.Linear(width, width, bias=i == 1))
            self.add_module(f"bn{i}", norm(width, names, nn.BatchNorm1d))

    def forward(self, x: Tensor, name: str | None) -> Tensor:
        for i in range(1, self.layers + 1):
            x = normed(getattr(self, f"bn{i}"), getattr(self, f"fc{i}")(F.relu(x) if i > 1 else x), name)
        return x


class PublishedResNet(nn.Module):
    """A ResNet: torchvision's names, with several sets of normalisations those of ACL, or (`head="linear"`) RobustBench's."""

    normalize: Any

    def __init__(
        self, depths: tuple[int, ...] = (2, 2, 2, 2), names: Names = None, *, bottleneck: bool = False, large: bool = False,
        classes: int | None = None, normalised: bool = True, shortcut: str = "downsample", head: str = "fc", layers: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.head_name, self.large = head, large
        if normalised:
            self.normalize = nn.Module()
            self.normalize.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
            self.normalize.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))
        self.conv1 = nn.Conv2d(3, 64, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False)
        self.bn1 = norm(64, names)
        incoming = 64
        for stage, depth in enumerate(depths):
            width, blocks = 64 * 2**stage, []
            for i in range(depth):
                blocks.append(Block(incoming, width, 2 if stage and not i else 1, names, bottleneck, shortcut))
                incoming = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        last = ProjHead(incoming, names, layers) if classes is None else nn.Linear(incoming, classes)
        self.add_module(head, last)

    def forward(self, x: Tensor, name: str | None = None) -> Tensor:
        if hasattr(self, "normalize"):
            x = (x - self.normalize.mean[None, :, None, None]) / self.normalize.std[None, :, None, None]
        x = F.relu(normed(self.bn1, self.conv1(x), name))
        x = F.max_pool2d(x, 3, 2, 1) if self.large else x
        for stage in range(1, 5):
            for block in getattr(self, f"layer{stage}"):
                x = block(x, name)
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        head = getattr(self, self.head_name)
        return head(x, name) if isinstance(head, ProjHead) else head(x)


class WideBlock(nn.Module):
    """bn1, conv1, bn2, conv2, and convShortcut where the width changes."""

    def __init__(self, incoming: int, width: int, stride: int, names: Names) -> None:
        super().__init__()
        self.bn1, self.bn2 = norm(incoming, names), norm(width, names)
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.convShortcut = None if incoming == width else nn.Conv2d(incoming, width, 1, stride, bias=False)

    def forward(self, x: Tensor, name: str | None) -> Tensor:
        o = F.relu(normed(self.bn1, x, name))
        out = self.conv2(F.relu(normed(self.bn2, self.conv1(o), name)))
        return out + (x if self.convShortcut is None else self.convShortcut(o))


class PublishedWide(nn.Module):
    """A wide ResNet; pixels are not normalised. `pool` takes the mean of the last maps, as published by avg_pool2d."""

    def __init__(
        self,
        depth: int = 28,
        factor: int = 10,
        names: Names = None,
        *,
        classes: int | None = None,
        head: str = "linear",
    ) -> None:
        super().__init__()
        self.head_name, incoming = head, 16
        self.pool: Any = lambda x: F.avg_pool2d(x, x.shape[-1]).flatten(1)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for group in range(3):
            width, blocks = 16 * factor * 2**group, []
            for i in range((depth - 4) // 6):
                blocks.append(WideBlock(incoming, width, 2 if group and not i else 1, names))
                incoming = width
            holder = nn.Module()
            holder.layer = nn.Sequential(*blocks)
            self.add_module(f"block{group + 1}", holder)
        self.bn1 = norm(incoming, names)
        self.add_module(head, ProjHead(incoming, names, 2) if classes is None else nn.Linear(incoming, classes))

    def forward(self, x: Tensor, name: str | None = None) -> Tensor:
        x = self.conv1(x)
        for group in range(1, 4):
            for block in getattr(self, f"block{group}").layer:
                x = block(x, name)
        x = self.pool(F.relu(normed(self.bn1, x, name)))
        head = getattr(self, self.head_name)
        return head(x, name) if isinstance(head, ProjHead) else head(x)


def at_random(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all statistics, scales and shifts of normalisations too, so that no two sets are equal; in evaluation mode."""
    draws = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (m.running_mean, -0.2, 0.2),
                (m.running_var, 0.5, 2.0),
                (m.weight, 0.5, 1.5),
                (m.bias, -0.2, 0.2),
            ):
                with torch.no_grad():
                    tensor.copy_(torch.rand(tensor.shape, generator=draws) * (high - low) + low)  # type: ignore[union-attr]
    return model.eval()
