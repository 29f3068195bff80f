"""A guard against catastrophic overfitting: networks trained with a cheap attack can learn to resist it and nothing else.

Held-out images are attacked as in training, and by PGD of five steps within the same radius. Training has overfitted where

    a₁ − a₅ > GAP, or a₅ < ½ · (best a₅ so far)        by more than two standard errors (Wilson's interval), over n images

The one-step accuracy a₁ then rises while a₅ falls to 0. The run returns to its last good state and takes one step more.
Source: the phenomenon, Wong et al., *Fast is better than free*, ICLR 2020; that it is seen on few images, Andriushchenko and
Flammarion, *Understanding and improving fast adversarial training*, NeurIPS 2020. The two bounds are ours.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from coreselect.attacks import PGD
from coreselect.protocols import Attack, Call
from coreselect.support.seeding import derive, rng_kept, seed_everything
from coreselect_integrations.evaluation import evaluate

IMAGES, STEPS = 200, 5  # attacked at most, and steps of the attack that judges
GAP = 0.2
COST = 3  # of measuring an image, in updates of the parameters on one: measured on a CPU, attacked images are those that are right


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a guard measured: accuracies in [0, 1] of `n` images under the training attack and under five steps."""

    training: float
    multi_step: float
    n: int

    def overfits(self, best: float) -> str | None:
        """Say how training has overfitted; None if it has not.

        Args:
            best: the largest `multi_step` before, in [0, 1].
        """
        gap = self.training - self.multi_step
        said = f"{self.training:.1%} under the training attack, {self.multi_step:.1%} under {STEPS} steps"
        if lower_end(gap, self.n) > GAP:
            return said
        return f"{said}, {best:.1%} before" if self.multi_step < lower_end(best / 2, self.n) else None


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard over images that training does not see.

    Args:
        images: (x, y), at most `IMAGES` of them.
        radius: of training, of the attack with five steps.
        seed: of the random starts.
        call: how the network is called.
    """

    images: Any
    radius: float
    seed: int
    call: Call | None = None

    def __call__(self, network: nn.Module, attack: Attack, epoch: int, device: torch.device) -> Guarded:
        """Measure the network; neither it nor any random state changes."""
        found = []
        with rng_kept():
            for judge in (attack, PGD(self.radius, self.radius / 2, STEPS)):
                seed_everything(derive(self.seed, "guard", epoch))  # for datasets that draw from global states
                found.append(
                    evaluate(network, self.images, attack=judge, seed=self.seed, call=self.call, device=device)
                )
        return Guarded(found[0].robust, found[1].robust, found[1].n)


def lower_end(share: float, n: int) -> float:
    """Return the lower end of Wilson's interval of a share of n images, two standard errors wide (*JASA* 22, 1927).

    A difference of two shares is taken as one.
    """
    z2 = 4 / n
    share = max(0.0, share)
    return (share + z2 / 2 - math.sqrt(z2 * share * (1 - share) + z2 * z2 / 4)) / (1 + z2)
