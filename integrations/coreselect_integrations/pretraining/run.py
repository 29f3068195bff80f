"""One training run from settings to weights: any system, with any selector plugged in through `CoresetSampler` alone.

The folder of a run holds `log.jsonl` (a line an epoch), `last.pt` (to resume from), `coreset.npz` (its last selection)
and, at the end, `model.pt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from coreselect import CoresetSampler, Indexed, Selector, Task
from coreselect.data import names_of
from coreselect.history import History
from coreselect.io.fingerprint import fingerprint
from coreselect.protocols import Progress
from coreselect.selectors import Random
from coreselect.support.records import settings_of
from coreselect.support.seeding import derive, generator, rng_kept, seed_everything
from coreselect_integrations.networks import RoutedNetwork, Spec, make, route_call, save_network, spec_for
from coreselect_integrations.pretraining.settings import EARLIER, SYSTEMS, Settings
from coreselect_integrations.pretraining.warmup import count_classes, image_shape
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.systems.dynacl import MomentumEncoder
from coreselect_integrations.training.loops import EpochLog, NonSingletonBatches, ProgressLoader
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.runs import Run
from coreselect_integrations.training.schedule import Schedule

MODEL, CORESET = "model.pt", "coreset.npz"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A trained network in evaluation mode, its spec, and one record an epoch, as in `log.jsonl`."""

    network: RoutedNetwork
    spec: Spec
    records: tuple[Mapping[str, Any], ...]


def pretrain(
    settings: Settings,
    pool: Any,
    validation: Any,
    folder: str | Path,
    *,
    selector: Selector | None = None,
    num_workers: int = 0,
    timeout: float = 0,
    select_batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    ended: Callable[[Mapping[str, Any]], None] | None = None,
    start: str | Path | None = None,
    until: int | None = None,
) -> Pretrained:
    """Train a network in a folder, or go on with the run that is there.

    Killed at any moment and called again with the same arguments, a run ends with the same weights, bit for bit on a
    CPU: its draws are functions of the seed and the epoch, and all else is in `last.pt`.

    Args:
        settings: the system and its numbers.
        pool: map-style dataset of (x, y), or of x alone for the contrastive systems; x float [C, H, W] in [0, 1].
        validation: images whose RD a selector may read, disjoint from the pool.
        folder: where the run lives; made if it is missing.
        selector: the method of choosing; None trains on the whole pool in every epoch.
        num_workers: processes that read images.
        timeout: seconds to wait for a batch of these; 0 waits for ever.
        select_batch_size: of the forward passes of a selection; only memory and time depend on it.
        device: where to train; None is the CPU.
        progress: called with (part, examples done, examples in all) while an epoch runs.
        ended: called with the record of each epoch that ends.
        start: folder of another run of the same network on the same pool; this one begins where that one stands, with
            its weights, momenta and records; which examples are seen is counted from there.
        until: stop before this epoch, as if killed there; the folder then holds no `model.pt`.
    Raises:
        RequirementError: the folder holds a run with other settings, or on other data.
        NonFiniteError: training diverged; the folder holds the epoch before.
    """
    where, folder, n = torch.device(device or "cpu"), Path(folder), len(pool)
    spec = network_for(settings, pool, num_workers)
    if settings.flip is None:
        settings = replace(settings, flip=spec.channels > 1)
    network = make(spec, settings.seed).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model: nn.Module = MomentumEncoder(network, settings.key_momentum) if settings.key_momentum else network
    optimizer = optimiser(
        settings.optimiser, network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay,
        momentum=settings.momentum,
    )  # fmt: skip
    if isinstance(model, MomentumEncoder):
        model.attach(optimizer)
    schedule = Schedule(optimizer, settings.rate_curve())
    history = History(n)  # of logits, or where there are none, of losses
    recipe = Task.from_model(
        network, pool, validation, loss=settings.loss(0), attack=settings.select_attack, call=route_call,
        capture=None if settings.capture == "head" else settings.capture, views=settings.views(0),
        batch_size=select_batch_size, num_workers=num_workers, timeout=timeout, device=where, history=history,
    )  # fmt: skip
    sampler = CoresetSampler(
        recipe if progress is None else recipe.reporting(progress), selector or Random(), settings.fraction,
        warmup=settings.epochs if selector is None else settings.warmup, every=settings.every, seed=settings.seed,
    )  # fmt: skip
    workers, seen = generator(settings.seed, "workers"), Seen(n)
    batches = NonSingletonBatches(sampler, settings.batch_size)
    loader: DataLoader[Any] = DataLoader(
        Indexed(pool), batch_sampler=batches, num_workers=num_workers, timeout=timeout, generator=workers
    )
    parts: dict[str, Any] = {
        "model": model, "optimizer": optimizer, "schedule": schedule, "sampler": sampler, "seen": seen,
        "history": history,
    }  # fmt: skip
    about = {
        **asdict(settings), "selector": None, "selector_settings": None, "data": fingerprint(pool), "pool_size": n,
        "network": asdict(spec), "select_precision": "fp32",
    }  # fmt: skip
    if selector is not None:
        about |= {
            "selector": selector.name, "selector_settings": settings_of(selector),
            "select_precision": "fp32" if settings.attack is None else settings.precision,
        }  # fmt: skip
    with rng_kept():
        run = Run.open(
            folder, parts, about, start=start, apart=("sampler", "schedule", "seen"), added=("history",),
            earlier=EARLIER,
        )  # fmt: skip
        for epoch in range(run.done, settings.epochs if until is None else until):
            seed_everything(derive(settings.seed, "items", epoch))  # for datasets that draw from global states
            workers.manual_seed(derive(settings.seed, "workers", epoch))
            begun, worked, before = perf_counter(), process_time(), sampler.selection
            sampler.task = replace(sampler.task, loss=settings.loss(epoch), views=settings.views(epoch))
            sampler.set_epoch(epoch)
            chosen = sampler.selection if sampler.selection is not before else None
            selecting, select_work = perf_counter() - begun, process_time() - worked
            schedule.set_epoch(epoch, len(loader))
            rate = schedule.rate
            batches_shown = ProgressLoader(loader, f"epoch {epoch + 1}", len(sampler), progress)
            worked = process_time()
            log = train_epoch(
                settings, spec, epoch, model, batches_shown, optimizer, schedule, sampler.weights, history, where
            )
            seen.add(sampler)
            if chosen is not None:
                chosen.save(folder / CORESET)
            record = {
                "loss": log.loss, "accuracy": log.accuracy, "lr": rate, "examples": log.examples, "updates": len(loader),
                "seconds": log.seconds, "select_seconds": selecting, "cpu_seconds": process_time() - worked,
                "select_cpu_seconds": select_work, "seen": seen.share,
                "selection": {} if chosen is None else dict(chosen.provenance.seconds),
                "trouble": list(chosen.diagnostics.trouble()) if chosen is not None and chosen.diagnostics is not None else [],
            }  # fmt: skip
            run.keep(record)
            if ended is not None:
                ended(run.records[-1])
    trained = model.key if isinstance(model, MomentumEncoder) else network
    assert isinstance(trained, RoutedNetwork)  # the key encoder is a copy of the network
    if run.done == settings.epochs:
        names = names_of(pool) if SYSTEMS[settings.system].supervised else None
        save_network(folder / MODEL, trained, spec, about, names)
    return Pretrained(trained.eval(), spec, tuple(run.records))


class Seen:
    """Which examples of the pool any epoch has trained on."""

    def __init__(self, n: int) -> None:
        self.mask = torch.zeros(n, dtype=torch.bool)  # [N]

    def add(self, sampler: CoresetSampler) -> None:
        """Mark the examples of the sampler's present epoch."""
        whole = sampler.round_of(sampler.epoch or 0) is None or sampler.selection is None
        self.mask[slice(None) if whole else torch.from_numpy(sampler.selection.indices)] = True  # type: ignore[union-attr]

    @property
    def share(self) -> float:
        """The share of the pool that was seen, in [0, 1]."""
        return self.mask.float().mean().item()

    def state_dict(self) -> dict[str, Any]:
        """Return the mask."""
        return {"mask": self.mask}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a mask."""
        self.mask = state["mask"]


def network_for(settings: Settings, pool: Any, num_workers: int = 0) -> Spec:
    """Say which network the settings ask for on this data."""
    channels, size = image_shape(pool)
    supervised = SYSTEMS[settings.system].supervised
    family = "sat" if supervised else "cl" if settings.system == "cl" else "acl"
    return spec_for(
        settings.arch, family, channels=channels, size=size, stem=settings.stem, projection=settings.projection,
        classes=count_classes(pool, num_workers) if supervised else None,
    )  # fmt: skip


def train_epoch(
    settings: Settings,
    spec: Spec,
    epoch: int,
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    weights: Callable[[Tensor], Tensor],
    history: History,
    device: torch.device,
) -> EpochLog:
    """Run the plain loop of the settings' system for one epoch, every draw a function of (seed, epoch)."""
    own, half, views = generator(settings.seed, "training", epoch), settings.half, settings.views(epoch)
    if views is None:
        augment = partial(crop_flip, pad=spec.size // 8, flip=bool(settings.flip))
        return sat.train_epoch(
            model, loader, optimizer, settings.attack, generator=own, loss=settings.loss(epoch), call=route_call,
            augment=augment, scheduler=schedule, weights=weights, history=history, precision=half, device=device,
        )  # fmt: skip
    return acl.train_epoch(
        model, loader, optimizer, settings.attack, generator=own, loss=settings.loss(epoch), views=views,
        scheduler=schedule, weights=weights, history=history, precision=half, device=device,
    )  # fmt: skip
