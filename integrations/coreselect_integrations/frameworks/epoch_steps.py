"""The steps of a run whose epochs differ in length: how many there are, and in which epoch a step lies.

With n_e positions of this rank in epoch e, batches of B and an optimiser step every g batches, epoch e has b_e = ⌈n_e / B⌉ batches
(⌊n_e / B⌋ without the last, if it is not full) and ⌈b_e / g⌉ steps.
"""

from dataclasses import dataclass
from math import ceil

from coreselect.errors import ScheduleError
from coreselect_integrations.frameworks.dealt import EpochSampler


@dataclass(frozen=True)
class EpochSteps:
    """The steps of each epoch of a sampler.

    Attributes:
        sampler: says how long its epochs are, without selecting.
        batch_size: B ≥ 1, of this rank.
        accumulate: g ≥ 1, batches of a step.
        drop_last: whether a last batch that is not full is left out.
        limit: how many batches of an epoch are trained on at most, an int, or which share of them, a float in [0, 1].
    """

    sampler: EpochSampler
    batch_size: int
    accumulate: int = 1
    drop_last: bool = False
    limit: int | float = 1.0

    def batches(self, epochs: int) -> list[int]:
        """Return the batches of the epochs 0 … epochs − 1."""
        lengths = self.sampler.lengths(epochs)
        batches = [n // self.batch_size if self.drop_last else ceil(n / self.batch_size) for n in lengths]
        return [min(b, self.limit) if isinstance(self.limit, int) else int(b * self.limit) for b in batches]

    def steps(self, epochs: int) -> list[int]:
        """Return the steps of the epochs 0 … epochs − 1."""
        return [ceil(b / self.accumulate) for b in self.batches(epochs)]

    def guesses(self, epochs: int) -> set[int]:
        """Return the wrong totals that follow if all epochs are taken to be as long as one of them."""
        steps = self.steps(epochs)
        return {count * epochs for count in steps} - {sum(steps)}

    def total(self, epochs: float) -> int:
        """Return the steps of a run; of a last epoch that is not whole, the share of its steps, rounded up."""
        steps = self.steps(ceil(epochs))
        left_out = ceil(epochs) - epochs
        return sum(steps) - int(steps[-1] * left_out) if steps else 0

    def epochs_for(self, steps: int) -> int:
        """Return how many epochs hold a number of steps ≥ 0.

        Raises:
            ScheduleError: epochs have no steps, since batches are dropped.
        """
        epochs = 1
        while sum(self.steps(epochs)) < steps:
            if epochs > 1 and not self.steps(epochs)[-1]:
                raise ScheduleError(f"epochs of fewer than {self.batch_size} examples have no step with drop_last.")
            epochs *= 2
        each, done = self.steps(epochs), 0
        for epoch, count in enumerate(each):
            done += count
            if done >= steps:
                return epoch + 1
        return epochs
