"""What a network is, in plain values: enough to make it again, and to know its tensors before it is made."""

from dataclasses import dataclass

from coreselect.errors import RequirementError
from coreselect_integrations.networks.resnet import STEMS


@dataclass(frozen=True, slots=True)
class Spec:
    """A network's architecture, the images it takes, and its head.

    Args:
        arch: a name in `ARCHITECTURES`.
        channels, size: C ≥ 1 and H = W ≥ 4 of the images.
        classes: outputs of a linear classifier, at least 2; or
        projection: layers of a projection head, 2 or 3. Exactly one of the two is given.
        dual_bn: whether normalisation keeps statistics for two routes.
        stem: `cifar` (3×3), or `imagenet` (7×7 of stride 2, then pooling), which ResNets have; it needs size ≥ 32.
    Raises:
        RequirementError: a value is out of its range, or both heads or none are asked for.
    """

    arch: str
    channels: int = 3
    size: int = 32
    classes: int | None = None
    projection: int | None = None
    dual_bn: bool = False
    stem: str = "cifar"

    def __post_init__(self) -> None:
        if (self.classes is None) == (self.projection is None):
            why = (
                f"a network has one head: give classes (a classifier) or projection (a contrastive encoder), "
                f"got classes={self.classes!r} and projection={self.projection!r}."
            )
            raise RequirementError(why)
        for name, value, right, needed in (
            ("arch", self.arch, isinstance(self.arch, str), "a name"),
            ("channels", self.channels, _count(self.channels, 1), "an int of at least 1"),
            ("size", self.size, _count(self.size, 4), "an int of at least 4 pixels"),
            ("classes", self.classes, self.classes is None or _count(self.classes, 2), "an int of at least 2"),
            ("projection", self.projection, self.projection is None or _count(self.projection, 2, 3), "2 or 3 layers"),
            ("dual_bn", self.dual_bn, isinstance(self.dual_bn, bool), "True or False"),
            ("stem", self.stem, isinstance(self.stem, str) and self.stem in STEMS, f"one of {STEMS}"),
        ):
            if not right:
                why = f"a network's {name} must be {needed}, got {value!r}."
                raise RequirementError(why)
        if self.stem == "imagenet" and self.size < 32:
            why = (
                f"the imagenet stem quarters the image and needs at least 32 pixels, got {self.size}: use stem 'cifar'."
            )
            raise RequirementError(why)


def _count(value: object, least: int, most: int | None = None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value >= least and (most is None or value <= most)
