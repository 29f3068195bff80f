"""The effort of a training attack in words: how many steps, how far out, and from which start.

    effort = steps [x factor] [-start]        `5`, `1x1.5`, `1x1-nfgsm`

The factor is the training radius in units of the judged radius, and the start one of `STARTS`.
"""

import re
from dataclasses import dataclass

from coreselect.attacks import PGD, short_step
from coreselect.errors import RequirementError

STARTS = ("uniform", "nfgsm")
MOST_STEPS = 10_000
_WORDS = re.compile(r"(?P<steps>\d+)(x(?P<factor>\d*\.?\d+))?(-(?P<start>[a-z]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of a training attack.

    Attributes:
        steps: of the gradient, ≥ 1.
        factor: training radius / judged radius, > 0; None leaves that of the run.
        start: one of `STARTS`; None leaves that of the run.
    """

    steps: int
    factor: float | None = None
    start: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Effort":
        """Read `5`, `1x1.5` or `1x1-nfgsm`.

        Raises:
            RequirementError: it is none of these.
        """
        found = _WORDS.fullmatch(text.strip())
        start = found and found["start"]
        if found is None or not 1 <= int(found["steps"]) <= MOST_STEPS or start not in (None, *STARTS):
            raise RequirementError(
                f"an effort is the steps of the training attack, such as 5, with the training radius in judged radii, 1x1.5, "
                f"and -{' or -'.join(STARTS)} if it is not the run's start, got {text!r}."
            )
        factor = None if found["factor"] is None else float(found["factor"])
        if factor == 0:
            raise RequirementError(f"the training radius of an effort is above 0 judged radii, got {text!r}.")
        return cls(int(found["steps"]), factor, start)

    @property
    def words(self) -> str:
        """The effort as `parse` reads it."""
        out = "" if self.factor is None else f"x{self.factor:g}"
        return f"{self.steps}{out}" + ("" if self.start is None else f"-{self.start}")


def usual_step(radius: float, steps: int, start: str = "uniform") -> float:
    """Return the size of a step: 2½ radii in all, at most 1¼ radii each; for N-FGSM a radius in all, as published.

    Args:
        radius: of training, ≥ 0; without one, any positive step serves.
        steps: of the attack.
    """
    walk = radius / max(1, steps) if start == "nfgsm" else radius * min(1.25, 2.5 / max(1, steps))
    return walk or 1.0


def short_attack(radius: float, steps: int) -> PGD:
    """Make an attack whose steps are 1¼ radii long in all; without a radius, any positive step serves."""
    return PGD(radius, short_step(radius, steps), steps)


def in_radii(text: str | float, radius: float, option: str) -> float:
    """Read `1.5x`, which is so many radii, or a number in units of pixels in [0, 1].

    Args:
        text: of an option.
        radius: the unit of a factor.
        option: its name, for the error.
    Raises:
        RequirementError: it is neither, or not above 0.
    """
    words = str(text).strip()
    try:
        value = float(words[:-1]) * radius if words.endswith("x") else float(words)
    except ValueError:
        value = -1.0
    if words.endswith("x") and value == 0 and radius == 0:
        raise RequirementError(f"{option} {text} is a multiple of a radius of 0: give --radius above 0.")
    if not 0 < value < float("inf"):
        raise RequirementError(
            f"{option} is a number above 0 in units of pixels in [0, 1], or a factor such as 1.5x, got {text!r}."
        )
    return value
