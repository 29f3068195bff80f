"""A filter by the losses of a small side model that is trained on the pool without attacks, once a run.

Such a model fits clean labels first, so that it separates wrong ones better than the model in adversarial training does; see
`coreselect.selectors.Filtered`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from coreselect import Selection, Selector
from coreselect.budget import Budget
from coreselect.data.items import loaded_in_order
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors import Filtered
from coreselect.support.devices import usable_device
from coreselect.types import Float64
from coreselect_integrations.networks import route_call
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import Settings

EPOCHS = 8


@dataclass(frozen=True)
class SideFiltered:
    """Choose with `selector` among the share of each class that has the lowest loss under a side model.

    The side model is trained at the first selection of a run, whose seconds count that. Its losses are kept in memory: a run that
    is continued trains it again, with the same losses.

    Args:
        selector: any selector; it sees the examples that are left as its pool.
        keep: the share of each class that is left, in (0, 1].
        epochs: of the side model, ≥ 1.
    """

    selector: Selector
    keep: float = 0.6
    epochs: int = EPOCHS
    name = "filtered"

    def __post_init__(self) -> None:
        Filtered(self.selector, self.keep)  # which checks the share
        object.__setattr__(self, "_losses", {})

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {"labels", "inputs"}

    @property
    def renew(self) -> str:
        return self.selector.renew

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector needs for the examples that are left; the side model is not among the counted passes."""
        left = max(sizes.k, int(self.keep * sizes.n))
        return of_parts([(self.selector, sizes.of(left, sizes.k))])

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        seed = generator.initial_seed()
        with task.snapshot(seed, round) as snapshot:
            recipe, known = snapshot.task, self._losses  # type: ignore[attr-defined]  # of a model's snapshot; set at the start
            if (recipe.fingerprint(), seed) not in known:
                known.clear()
                with snapshot.clock("side model"):
                    known[recipe.fingerprint(), seed] = side_losses(
                        recipe.pool, epochs=self.epochs, seed=seed, num_workers=recipe.num_workers, device=recipe.device
                    )
            losses = known[recipe.fingerprint(), seed]
            found = Filtered(self.selector, self.keep, losses=losses)
            return found.select(snapshot, budget, generator=generator, round=round)


def side_settings(seed: int, epochs: int = EPOCHS) -> Settings:
    """Return the settings of a side model."""
    return replace(
        defaults("standard"), arch="small", epochs=epochs, batch_size=64, lr=0.05, curve="cosine", lr_warmup=1, seed=seed,
        precision="fp32",
    )  # fmt: skip


def side_losses(pool: Any, *, epochs: int = EPOCHS, seed: int = 0, num_workers: int = 0, device: Any = None) -> Float64:
    """Train a small network on a labelled pool without attacks, and return the cross-entropy of each example, float64 [N].

    Equal seeds give equal losses; global random states do not change.
    """
    from coreselect_integrations.pretraining.run import pretrain  # it knows the methods' names, and these this filter

    own = side_settings(seed, epochs)
    where = usable_device(device or "cpu")
    with TemporaryDirectory() as folder:
        network = pretrain(own, pool, (), folder, num_workers=num_workers, device=where, keep_every=epochs).network
    out: list[np.ndarray] = []
    with torch.no_grad():
        for x, y, *_ in loaded_in_order(pool, 256, what="pool", num_workers=num_workers):
            logits = route_call(network, x.to(where), "natural").double()
            out.append(cross_entropy(logits, y.to(where), reduction="none").cpu().numpy())
    return np.concatenate(out)
