"""Judge a network of a race on labelled images that no arm has read: which of them it classifies rightly, attacked by PGD-20.

A network of a contrastive system gets a linear head first, which is fitted to images of the pool: `pretraining.probe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch

from coreselect.attacks import PGD
from coreselect.data.labels import why_unlabelled
from coreselect.data.reading import read_labels
from coreselect.errors import DataError
from coreselect.protocols import Progress
from coreselect.support.seeding import noise, rng_kept, seeds
from coreselect_integrations.evaluation.accuracy import not_fooled
from coreselect_integrations.evaluation.reading import CorrectExamples, logits_of
from coreselect_integrations.networks import RoutedNetwork, route_call
from coreselect_integrations.pretraining.probe import Probe
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.contexts import evaluation_mode

STEPS = 20


@dataclass(frozen=True, slots=True)
class Judge:
    """What judges the networks of a race, all on the same images under the same draws.

    Args:
        images: labelled.
        radius: of the attack, whose steps are a quarter of it.
        seed: of its starts.
        probe: fits a head first; None takes the network as it is.
    """

    images: Any
    radius: float
    seed: int
    probe: Probe | None = None

    @classmethod
    def of(cls, settings: Settings, pool: Any, images: Any) -> Self:
        """Make the judge of a system.

        Raises:
            DataError: there are no labels.
        """
        with rng_kept():
            labels = read_labels(images, seed=0)
        if labels is None:
            raise DataError(
                f"a race judges networks on labelled images, and the data has no labels{why_unlabelled(images)}: items (x, y) "
                "with an integer y are needed."
            )
        probe = None if settings.supervised else Probe.of(pool, images, settings.radius, settings.seed)
        return cls(images, settings.radius, settings.seed, probe)

    def __call__(
        self, network: RoutedNetwork, device: torch.device, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Measure a network; neither it nor any random state changes.

        Returns:
            `standard` and `robust` accuracy in [0, 1], the number of images `n`, and `right`, a string with a 1 for each image
            that no iterate of the attack fools, and a 0 for the others.
        """
        attack = PGD(self.radius, self.radius / 4, STEPS)
        with rng_kept():
            probed = None if self.probe is None else self.probe.classifier(network, 0, device)
            logits = logits_of(network, route_call, "adversarial") if probed is None else probed
            correct = CorrectExamples(
                logits, self.images, "judging", batch_size=128, device=device, progress=progress,
            )  # fmt: skip
            right: set[int] = set()
            with evaluation_mode(network if probed is None else probed):
                for batch in correct:
                    if len(batch.x):
                        own = seeds(self.seed, "evaluation", indices=batch.positions.numpy())  # [B']
                        kept = not_fooled(logits, batch.x, batch.y, attack, noise(batch.x, own), batch.positions)
                        right |= {*batch.positions[kept.cpu()].tolist()}
        n = correct.n
        bits = "".join("1" if i in right else "0" for i in range(n))
        return {"standard": correct.correct / n, "robust": len(right) / n, "n": n, "right": bits}
