"""A linear probe of a network in pre-training: how well a linear classifier of its features would do, attacked and not.

The head minimises cross-entropy + λ/2·‖W‖² on the features of some images of the pool, by L-BFGS from zero, so nothing is drawn.
Standard and robust accuracy (PGD-20) are measured on images that were held out. The features are read in evaluation mode, on the
adversarial route, as in fine-tuning. This is a cheaper form of `slf`: no augmentation, few images, and an optimum in place of
epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coreselect.attacks import PGD
from coreselect.data.labels import why_unlabelled
from coreselect.data.reading import read_labels
from coreselect.errors import DataError, RequirementError
from coreselect.support.seeding import derive, rng_kept, seed_everything
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.evaluation.reading import batches
from coreselect_integrations.networks import RoutedNetwork
from coreselect_integrations.pretraining.dataset_shape import evenly_spaced
from coreselect_integrations.training.contexts import evaluation_mode

FITTED, MEASURED = 1000, 500  # images at most: of the pool, and held out
DECAY, STEPS = 1e-3, 100  # λ, and the steps of L-BFGS


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of a run.

    Args:
        pool: labelled images, which fit the head; `of` takes `FITTED` at most, evenly spaced.
        held: labelled images, which are classified; `of` takes `MEASURED` at most.
        radius: of PGD-20, whose steps are a quarter of it.
        seed: of the attack's starts.
        classes: of the head.
    """

    pool: Any
    held: Any
    radius: float
    seed: int
    classes: int

    @classmethod
    def of(cls, pool: Any, held: Any, radius: float, seed: int) -> Self:
        """Make a probe, and count the classes of the images that it will read.

        Raises:
            DataError: images have no labels.
            RequirementError: the radius is 0.
        """
        if not radius:
            raise RequirementError("a probe attacks within the radius of the run, which is 0: leave --probe-every out.")
        classes = 2
        for dataset, most, what in ((pool, FITTED, "pool has"), (held, MEASURED, "held-out images have")):
            with rng_kept():
                labels = read_labels(evenly_spaced(dataset, most), seed=0)
            if labels is None:
                why = f"a probe needs labels, and the {what} none{why_unlabelled(dataset)}: leave --probe-every out."
                raise DataError(why)
            classes = max(classes, int(labels.max()) + 1)
        return cls(evenly_spaced(pool, FITTED), evenly_spaced(held, MEASURED), radius, seed, classes)

    def __call__(self, network: RoutedNetwork, epoch: int, device: torch.device) -> dict[str, float]:
        """Measure the network; neither it nor any random state changes.

        Returns:
            `standard` and `robust` accuracy in [0, 1], and the number of images `n`.
        """
        with rng_kept():
            classifier = self.classifier(network, epoch, device)
            found = evaluate(
                classifier, self.held, attack=PGD(self.radius, self.radius / 4, 20), seed=self.seed, batch_size=128, device=device,
            )  # fmt: skip
        return {"standard": found.standard, "robust": found.robust, "n": found.n}

    def classifier(self, network: RoutedNetwork, epoch: int, device: torch.device) -> nn.Module:
        """Return x [B, …] → logits [B, classes]: the network, and a head that is fitted to its features.

        Global random states are drawn from: call it inside `rng_kept`.
        """
        seed_everything(derive(self.seed, "probe", epoch))  # for datasets that draw from global states
        z, y = _features(network, self.pool, device)  # [M, D], [M]
        return _Probed(network, _fit(z, y, self.classes))


class _Probed(nn.Module):
    """Features of the network, then the head."""

    def __init__(self, network: RoutedNetwork, head: nn.Linear) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.network.represent(x, "adversarial").float())


def _features(network: RoutedNetwork, dataset: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return features [M, D] and labels [M] on the device."""
    parts: list[tuple[Tensor, Tensor]] = []
    with evaluation_mode(network), torch.no_grad():
        for x, y, *_ in batches(dataset, 256):
            parts.append((network.represent(x.to(device), "adversarial").float(), torch.as_tensor(y).to(device)))
    features, labels = zip(*parts, strict=True)
    return torch.cat(features), torch.cat(labels)


def _fit(z: Tensor, y: Tensor, classes: int) -> nn.Linear:
    """Fit the head to features that are scaled by one number, so that λ means the same for every network."""
    scale = z.pow(2).mean().sqrt().clamp_min(1e-12)
    head = nn.Linear(z.shape[1], classes, device=z.device)  # its draws are inside `rng_kept`
    with torch.no_grad():
        for p in head.parameters():
            p.zero_()
    solver = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(head(z / scale), y) + DECAY / 2 * head.weight.pow(2).sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[arg-type]  # torch declares a closure of floats
    with torch.no_grad():
        head.weight.div_(scale)
    return head
