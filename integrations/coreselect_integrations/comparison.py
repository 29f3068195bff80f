"""Methods of choosing compared on equal terms: same warm model, same epochs, same updates, only the examples differ."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from coreselect import CoresetSampler, Selection, Selector, holdout
from coreselect.attacks import PGD
from coreselect.budget import resolve
from coreselect.protocols import Progress
from coreselect.seeding import generator
from coreselect_integrations import sat
from coreselect_integrations.evaluation import Evaluation, evaluate
from coreselect_integrations.networks import build
from coreselect_integrations.schedule import Schedule, triangle
from coreselect_integrations.training import Augment
from coreselect_integrations.warmup import count_classes, image_shape

WARM = "warm model"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all methods share.

    `radius` (pixels in [0, 1]) bounds every attack: training takes `attack_steps` steps of 2.5 radii in all,
    evaluation 20 of an eighth. After `warmup` epochs on the whole pool, `epochs` on `budget` of it, selected anew
    every `every` epochs. `validation` counts or is the fraction held out of the training set, unlabelled for the
    selectors; rates are peaks of a triangle.
    """

    radius: float
    arch: str = "small"
    budget: int | float = 0.1
    validation: int | float = 200
    warmup: int = 3
    epochs: int = 60
    every: int = 15
    attack_steps: int = 5
    batch_size: int = 32
    lr: float = 0.05
    weight_decay: float = 5e-4
    augment: Augment | None = None

    @property
    def attack(self) -> PGD:
        """The attack of training and of the selectors' rows."""
        return PGD(self.radius, 2.5 * self.radius / self.attack_steps, self.attack_steps)

    @property
    def judge(self) -> PGD:
        """The attack of evaluation: PGD-20."""
        return PGD(self.radius, self.radius / 8, 20)


@dataclass(frozen=True, slots=True)
class Run:
    """One method with one seed: accuracies in [0, 1] on the test set, wall-clock seconds of training and of selecting.

    `updates` counts optimiser steps on the subset; `picks` the groups of the last selection; `warnings` are its signs
    of trouble.
    """

    method: str
    seed: int
    standard: float
    robust: float
    train_seconds: float
    select_seconds: float
    updates: int = 0
    picks: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs, the warm models among them, and each method's last selection at the first seed."""

    setting: Setting
    runs: tuple[Run, ...]
    selections: Mapping[str, Selection] = field(repr=False)


def compare(
    train: Dataset[Any],
    test: Dataset[Any],
    selectors: Mapping[str, Callable[[], Selector]],
    setting: Setting,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress | None = None,
) -> Comparison:
    """Train with every method from the same warm model, once a seed, and evaluate each on the test set at the end.

    The seed decides split, initial parameters, order, augmentation and random starts, the same for every method; the
    test set is read for evaluation alone.

    Args:
        train: labelled images; pool and validation are cut from it.
        test: labelled images.
        selectors: name → how to make the method.
        setting: what they share.
        seeds: at least one.
        progress: called with (what is running, runs done, runs in all).
    """
    runs: list[Run] = []
    selections: dict[str, Selection] = {}
    total = len(seeds) * (1 + len(selectors))

    def report(what: str) -> None:
        if progress is not None:
            progress(what, len(runs), total)

    for seed in seeds:
        report(f"{WARM}, seed {seed}")
        pool, validation = holdout(train, setting.validation, seed)
        model, seconds = warm_model(pool, setting, seed)
        runs.append(judged(WARM, seed, model, test, setting, train_seconds=seconds, select_seconds=0.0))
        for name, make in selectors.items():
            report(f"{name}, seed {seed}")
            run, selection = subset_run(name, make(), copy.deepcopy(model), pool, validation, test, setting, seed)
            runs.append(run)
            selections.setdefault(name, selection)
    report("done")
    return Comparison(setting, tuple(runs), selections)


def warm_model(pool: Dataset[Any], setting: Setting, seed: int) -> tuple[nn.Module, float]:
    """Build the network and train it on the whole pool; return it with the seconds that took."""
    channels, size = image_shape(pool)
    start = perf_counter()
    model = build(setting.arch, "sat", channels=channels, size=size, classes=count_classes(pool), seed=seed)
    sat.warm_up(
        model, pool, epochs=setting.warmup, attack=setting.attack, augment=setting.augment,
        batch_size=setting.batch_size, lr=setting.lr, weight_decay=setting.weight_decay, seed=seed,
    )  # fmt: skip
    return model, perf_counter() - start


def subset_run(
    name: str,
    selector: Selector,
    model: nn.Module,
    pool: Dataset[Any],
    validation: Dataset[Any],
    test: Dataset[Any],
    setting: Setting,
    seed: int,
) -> tuple[Run, Selection]:
    """Train `model` on what one method chooses, then evaluate it; return the record and the last selection."""
    task = sat.task(model, pool, validation, attack=setting.attack)
    sampler = CoresetSampler(
        task, selector, budget=setting.budget, warmup=setting.warmup, every=setting.every, seed=seed
    )
    loader: DataLoader[Any] = DataLoader(pool, setting.batch_size, sampler=sampler, generator=generator(seed, "loader"))
    k = resolve(setting.budget, len(pool))  # type: ignore[arg-type]  # map-style datasets have a length
    updates = setting.epochs * math.ceil(k / setting.batch_size)
    optimizer = torch.optim.SGD(
        model.parameters(), setting.lr, momentum=0.9, nesterov=True, weight_decay=setting.weight_decay
    )
    scheduler = Schedule(optimizer, triangle(setting.epochs))
    draws = generator(seed, "subset training")
    train_seconds = select_seconds = 0.0
    for epoch in range(setting.warmup, setting.warmup + setting.epochs):
        start = perf_counter()
        sampler.set_epoch(epoch)
        select_seconds += perf_counter() - start
        scheduler.set_epoch(epoch - setting.warmup, len(loader))
        train_seconds += sat.train_epoch(
            model, loader, optimizer, setting.attack, generator=draws, augment=setting.augment, scheduler=scheduler
        ).seconds
    selection = sampler.selection
    assert selection is not None
    run = judged(
        name, seed, model, test, setting, train_seconds=train_seconds, select_seconds=select_seconds, updates=updates,
        picks=len(set(selection.groups.tolist())), warnings=selection.signs.words() if selection.signs else (),
    )  # fmt: skip
    return run, selection


def judged(name: str, seed: int, model: nn.Module, test: Dataset[Any], setting: Setting, **record: Any) -> Run:
    """Evaluate a model and write its record."""
    result: Evaluation = evaluate(model, test, attack=setting.judge, seed=seed)
    return Run(name, seed, result.standard, result.robust, **record)
