"""The description of a network in plain values: it is enough to make the network again."""

from dataclasses import dataclass

from coreselect.errors import RequirementError
from coreselect_integrations.networks.resnet import STEMS


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network's architecture, the images it takes, and its head.

    Args:
        arch: a name in `ARCHITECTURES`, or the name of a function of yours that `own_code.admit` returned.
        channels, size: C ≥ 1 and H = W ≥ 4 of the images.
        classes: outputs of a linear classifier, at least 2; or
        projection: layers of a projection head, 2 or 3. Give exactly one of the two.
        dual_bn: whether normalisation keeps separate statistics for two routes.
        stem: `cifar` (3×3), or for ResNets `imagenet` (7×7 of stride 2, then pooling), which needs size ≥ 32.
        routes: of a network of yours that takes routes, its names of the natural and the adversarial one, such as `normal,pgd`;
            None means that they are recognised.
    Raises:
        RequirementError: a value is out of range, or there is not exactly one head.
    """

    arch: str
    channels: int = 3
    size: int = 32
    classes: int | None = None
    projection: int | None = None
    dual_bn: bool = False
    stem: str = "cifar"
    routes: str | None = None

    def __post_init__(self) -> None:
        if (self.classes is None) == (self.projection is None):
            why = (
                f"a network has one head: give classes (a classifier) or projection (a contrastive encoder), "
                f"got classes={self.classes!r} and projection={self.projection!r}."
            )
            raise RequirementError(why)
        for name, value, right, needed in (
            ("arch", self.arch, isinstance(self.arch, str), "a name"),
            ("channels", self.channels, _is_int_in(self.channels, 1), "an int of at least 1"),
            ("size", self.size, _is_int_in(self.size, 4), "an int of at least 4 pixels"),
            ("classes", self.classes, self.classes is None or _is_int_in(self.classes, 2), "an int of at least 2"),
            (
                "projection",
                self.projection,
                self.projection is None or _is_int_in(self.projection, 2, 3),
                "2 or 3 layers",
            ),
            ("dual_bn", self.dual_bn, isinstance(self.dual_bn, bool), "True or False"),
            ("stem", self.stem, isinstance(self.stem, str) and self.stem in STEMS, f"one of {STEMS}"),
        ):
            if not right:
                why = f"a network's {name} must be {needed}, got {value!r}."
                raise RequirementError(why)
        if self.stem == "imagenet" and self.size < 32:
            why = f"the imagenet stem divides the image size by 4 and needs at least 32 pixels, got {self.size}: use stem 'cifar'."
            raise RequirementError(why)


def _is_int_in(value: object, least: int, most: int | None = None) -> bool:
    """Say whether a value is an int, not a bool, of at least `least` and at most `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value >= least and (most is None or value <= most)
