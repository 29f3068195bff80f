"""The effort of a training attack in words: how many steps, and how far out.

    effort = steps [x factor]        `5`, `1x1.5`

The factor is the training radius in units of the judged radius. Steps walk 2½ training radii in all, at most 1¼ each.
"""

import re
from dataclasses import dataclass, replace

from coreselect.errors import RequirementError
from coreselect_integrations.pretraining.settings import Settings

MOST_STEPS = 10_000
_WORDS = re.compile(r"(?P<steps>\d+)(x(?P<factor>\d*\.?\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of a training attack.

    Args:
        steps: of the gradient, ≥ 1.
        factor: training radius / judged radius, > 0; None leaves that of the run.
    """

    steps: int
    factor: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Effort":
        """Read `5` or `1x1.5`.

        Raises:
            RequirementError: it is neither.
        """
        found = _WORDS.fullmatch(text.strip())
        factor = None if found is None or found["factor"] is None else float(found["factor"])
        if found is None or not 1 <= int(found["steps"]) <= MOST_STEPS or factor == 0:
            raise RequirementError(
                "an effort is the steps of the training attack, such as 5, and the training radius in judged radii, such as "
                f"1x1.5, got {text!r}."
            )
        return cls(int(found["steps"]), factor)

    @property
    def words(self) -> str:
        """The effort as `parse` reads it."""
        return f"{self.steps}" if self.factor is None else f"{self.steps}x{self.factor:g}"


def at_effort(settings: Settings, effort: Effort) -> Settings:
    """Return the settings of a run whose attack has this effort; the radius of the settings is the judged one."""
    radius = settings.radius * (1.0 if effort.factor is None else effort.factor)
    return replace(settings, radius=radius, attack_steps=effort.steps, step=radius * min(1.25, 2.5 / effort.steps))
