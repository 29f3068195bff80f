"""The attacks of AutoAttack with the settings of its standard version, as the package `pyautoattack` provides them.

Source: Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
ICML 2020.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from coreselect.errors import OutOfBoundsError, RequirementError, ShapeError, UnknownNameError, missing_extra
from coreselect.support.bounds import TOLERANCE, range_of

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}  # our name -> the name in the package

Norm = Literal["linf", "l2", "l1"]


class PackageAttack(Protocol):
    """An attack of `pyautoattack`."""

    def perturb(self, x: Tensor, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Ensemble:
    """The attacks of the standard version, which has other numbers of restarts and targets in l₁.

    Args:
        radius, norm: of the ball; radius > 0, in units of pixels in [0, 1].
        steps: of APGD and FAB, ≥ 2.
        queries: of Square, ≥ 1.
    Raises:
        MissingExtraError: `pyautoattack` is not installed.
        RequirementError: a number is out of range.
    """

    radius: float
    norm: Norm
    steps: int
    queries: int

    def __post_init__(self) -> None:
        if not (0 < self.radius < math.inf and self.steps >= 2 and self.queries >= 1):
            raise RequirementError(
                f"AutoAttack needs a finite radius > 0, steps ≥ 2 and queries ≥ 1, "
                f"got radius={self.radius}, steps={self.steps}, queries={self.queries}."
            )

    def attack(
        self, name: str, logits: Callable[[Tensor], Tensor], classes: int, device: torch.device, seed: int
    ) -> PackageAttack:
        """Make the attack `name` on float32 logits."""
        l1, log = self.norm == "l1", logging.getLogger(__name__)
        apgd = {"n_iter": self.steps, "use_largereps": l1, "logger": log}
        own: dict[str, Any] = {
            "apgd-ce": {"n_restarts": 5 if l1 else 1, "loss": "ce", **apgd},
            "apgd-t": {"n_restarts": 1, "n_target_classes": min(5 if l1 else 9, classes - 1), **apgd},
            "fab-t": {"n_restarts": 1, "targeted": True, "n_target_classes": min(9, classes - 1), "n_iter": self.steps},
            "square": {"n_restarts": 1, "n_queries": self.queries, "p_init": 0.8, "resc_schedule": False},
        }[name]
        return load_package()[name](
            logits, norm=NORMS[self.norm], eps=self.radius, seed=seed, device=device, verbose=False, **own
        )


def load_package() -> Mapping[str, Callable[..., PackageAttack]]:
    """Import the attacks by name.

    Raises:
        MissingExtraError: `pyautoattack` is not installed.
    """
    try:
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
        from pyautoattack.fab_pt import FABAttack_PT
        from pyautoattack.square import SquareAttack
    except ImportError as why:
        raise missing_extra("pyautoattack", "train", "AutoAttack") from why
    return dict(zip(STANDARD, (APGDAttack, APGDAttack_targeted, FABAttack_PT, SquareAttack), strict=True))


def check_names(attacks: Sequence[str] | None, norm: str) -> tuple[str, ...]:
    """Return the names of the attacks to run, each once.

    Raises:
        UnknownNameError: another norm or attack, or no attack.
    """
    names = STANDARD if attacks is None else tuple(dict.fromkeys((attacks,) if isinstance(attacks, str) else attacks))
    unknown = [name for name in names if name not in STANDARD]
    if unknown or not names:
        raise UnknownNameError(
            f"AutoAttack has the attacks {', '.join(STANDARD)}, got {', '.join(map(repr, unknown)) or 'none'}."
        )
    if norm not in NORMS:
        raise UnknownNameError(f"AutoAttack has the norms {', '.join(NORMS)}, got {norm!r}.")
    return names


def check_inputs(x: Tensor, names: Sequence[str], norm: str) -> None:
    """Check that the attacks can run on these inputs.

    Raises:
        OutOfBoundsError: inputs outside [0, 1] by more than rounding, 0.0001.
        ShapeError: inputs of a shape that Square cannot attack.
    """
    low, high = range_of(x)
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # also for NaN
        raise OutOfBoundsError(
            f"AutoAttack attacks inputs in [0, 1] only, but these are between {low:.4g} and {high:.4g}: give images in [0, 1] and "
            "put the normalisation into the model, coreselect.Normalized(model, mean, std)."
        )
    least = 1 if norm == "linf" else 5
    if "square" in names and (x.dim() != 4 or min(x.shape[2:]) < least):
        raise ShapeError(
            f"square needs images [B, C, H, W] with H, W ≥ {least} in {norm}, got {list(x.shape)}: leave square out of attacks."
        )


def check_classes(out: Tensor, names: Sequence[str]) -> None:
    """Check that logits [B, classes] have enough classes for the attacks.

    Raises:
        RequirementError: an attack needs more classes.
    """
    classes = out.shape[1]
    if classes < 4 and "apgd-t" in names:
        rest = tuple(name for name in STANDARD if name != "apgd-t")
        raise RequirementError(f"apgd-t needs at least 4 classes, but the model has {classes}: give attacks={rest}.")
