"""The guard of a run: when it looks, and how the run returns to its last good state with one attack step more.

It looks after an epoch as soon as the images attacked for it are a tenth of the work since it last looked, and after the last
epoch: on a large pool that is every epoch, on a small coreset every few. A return is in `returned` of the next record, with the
seconds that were lost, and in its `trouble`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from time import perf_counter, process_time
from typing import Any

import torch

from coreselect.errors import RequirementError
from coreselect.support import ranks
from coreselect.support.seeding import rng_kept
from coreselect_integrations.networks import RoutedNetwork, route_call
from coreselect_integrations.pretraining.dataset_shape import evenly_spaced
from coreselect_integrations.pretraining.efforts import guarded, with_steps
from coreselect_integrations.pretraining.guard import COST, IMAGES, Guard, Guarded
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.run_checks import all_finite
from coreselect_integrations.training.runs import Run

FEWEST = 20  # held-out images that say something about a network
SHARE = 0.1  # of the work of training
MOST = 10  # attack steps; a run with so many is not guarded further
LOST = ("seconds", "cpu_seconds")


class Watch:
    """The guard of a run; of runs that are not guarded it does nothing.

    Args:
        settings: of the run.
        pool, held: images; those held out are looked at, or the pool's where fewer than `FEWEST` are, or they have no labels.
    """

    def __init__(self, settings: Settings, pool: Any, held: Any) -> None:
        self.plain, self.steps = settings, settings.attack_steps
        self.on = bool(settings.guard)
        with rng_kept():  # items may be augmented at random
            enough = self.on and len(held) >= FEWEST
            labelled = enough and isinstance(item := held[0], tuple) and len(item) > 1
        images = evenly_spaced(held if labelled else pool, IMAGES)
        self.guard = Guard(images, settings.attack_radius, settings.seed, route_call)
        self.best, self.good, self.worked = 0.0, -1, 0
        self.pending: list[dict[str, Any]] = []

    @property
    def settings(self) -> Settings:
        """The settings of the run with the attack steps of now."""
        return self.plain if self.steps == self.plain.attack_steps else with_steps(self.plain, self.steps)

    def begin(self, run: Run) -> None:
        """Keep the first state, to which a run returns that overfits at once; or one that a kill has kept from being kept."""
        if self.on and self.good in (-1, run.done):
            self.good = run.done
            run.mark()

    def __call__(self, record: dict[str, Any], epoch: int, network: RoutedNetwork, device: torch.device) -> str | None:
        """Add to the record of an epoch what was measured after it; say how training has overfitted, or return None."""
        if not self.on or not all_finite(network):  # `Run.keep` says that training diverged
            return None
        self.worked += record["examples"] * (self.steps + 1)
        said = None
        n = len(self.guard.images)
        if self.steps < MOST and (SHARE * self.worked >= n * COST or epoch == self.plain.epochs - 1):
            wall, cpu = perf_counter(), process_time()
            attack = self.settings.attack
            assert attack is not None  # a guarded system has one
            found: Guarded = self.guard(network, attack, epoch, device)
            said = found.overfits(self.best)
            spent = {"seconds": perf_counter() - wall, "cpu_seconds": process_time() - cpu}
            record["guard"] = {**asdict(found), "attack_steps": self.steps, **spent}
            if said is None:
                self.best, self.good, self.worked = max(self.best, found.multi_step), epoch + 1, 0
        if said is None and self.pending:
            record["returned"], self.pending = self.pending, []
            record["trouble"] = [*record["trouble"], *(r["said"] for r in record["returned"])]
        return said

    def kept(self, run: Run) -> None:
        """Keep the state of an epoch that was found good."""
        if self.on and self.good == run.done:
            run.mark()

    def back(self, run: Run, record: Mapping[str, Any], why: str) -> dict[str, Any]:
        """Return the run to its last good state, with one attack step more; return the record that is discarded."""
        steps, pending, dropped = self.steps + 1, self.pending, [*run.records[self.good :], record]
        lost = {name: sum(all_seconds(r, name) for r in dropped) for name in LOST}
        said = (
            f"catastrophic overfitting in epoch {run.done + 1}, back to epoch {self.good}: "
            f"{steps} attack steps from there ({why})"
        )
        pending = [*pending, {"epoch": run.done, "to": self.good, "attack_steps": steps, "said": said, **lost}]
        discarded = {"epoch": run.done, **record, "back": said}

        def change() -> None:
            self.steps, self.pending = steps, pending

        run.back(change)
        return discarded

    def state_dict(self) -> dict[str, Any]:
        """Return the attack steps, the last good state and what is not yet recorded, as plain values."""
        return {
            "steps": self.steps, "best": self.best, "good": self.good, "worked": self.worked,
            "pending": [dict(r) for r in self.pending],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a run stopped."""
        self.steps, self.best = int(state["steps"]), float(state["best"])
        self.good, self.worked = int(state["good"]), int(state["worked"])
        self.pending = [dict(r) for r in state["pending"]]


def resolved(settings: Settings) -> bool:
    """Return whether a run is guarded here.

    Raises:
        RequirementError: the settings ask for a guard, and several ranks train.
    """
    if ranks.world_size() > 1:
        if settings.guard:
            raise RequirementError(f"a guard is for one process, and {ranks.world_size()} train: give --no-guard.")
        return False
    return guarded(settings)


def all_seconds(record: Mapping[str, Any], name: str) -> float:
    """Return the seconds of an epoch's record with those of the guard, of selecting, and of what a return has lost.

    Args:
        name: `seconds`, or `cpu_seconds`.
    """
    return record[name] + record.get(f"select_{name}", 0.0) + guard_seconds(record, name)


def guard_seconds(record: Mapping[str, Any], name: str) -> float:
    """Return the seconds that the guard has measured for, and that returns have lost, in an epoch's record."""
    measured = record.get("guard", {}).get(name, 0.0)
    return measured + sum(r[name] for r in record.get("returned", ()))
