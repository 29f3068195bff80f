"""A threshold for a measure of a benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Threshold:
    """A bound for a measure; it does not hold if the measure is missing or not a number."""

    measure: str
    rule: Literal["at most", "at least"]
    bound: float

    def holds(self, value: float | None) -> bool:
        """Say whether a value is within the bound."""
        if value is None or math.isnan(value):
            return False
        return value <= self.bound if self.rule == "at most" else value >= self.bound
