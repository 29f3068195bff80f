"""A training run from settings to weights: any system, with any selector, which only `CoresetSampler` calls.

The folder of a run holds `log.jsonl` (one line for each epoch), `last.pt` (to continue from), `coreset.npz` (the last
selection), if asked for `snapshots/`, and, at the end, `model.pt`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch

from coreselect import CoresetSampler, Indexed, Selection, Selector
from coreselect.data import names_of
from coreselect.history import History
from coreselect.network.placing import placed
from coreselect.protocols import Progress
from coreselect.selectors import Random
from coreselect.support import ranks
from coreselect.support.bounds import check_range
from coreselect.support.devices import usable_device
from coreselect.support.records import digest_of
from coreselect.support.seeding import derive, generator, rng_kept, seed_everything
from coreselect_integrations.networks import (
    MODEL,
    NetworkSpec,
    RoutedNetwork,
    Saved,
    make,
    save_network,
    started,
)
from coreselect_integrations.pretraining.coreset_file import save_coreset
from coreselect_integrations.pretraining.division import NOT_DIVIDED
from coreselect_integrations.pretraining.encoders import encoder_for, losses, refuse_ranks, result_of
from coreselect_integrations.pretraining.epoch import network_for, train_epoch
from coreselect_integrations.pretraining.fixed_coreset import FixedCoreset, check_pool
from coreselect_integrations.pretraining.probe import Probe
from coreselect_integrations.pretraining.run_record import about_run, of_selection, of_training
from coreselect_integrations.pretraining.seen_examples import SeenExamples
from coreselect_integrations.pretraining.selection_task import selection_task
from coreselect_integrations.pretraining.settings import OLD_DEFAULTS, SYSTEMS, Settings
from coreselect_integrations.pretraining.snapshots import Snapshots
from coreselect_integrations.pretraining.trained import EPOCH
from coreselect_integrations.pretraining.trusted_draws import TrustedDraws
from coreselect_integrations.pretraining.view_checks import probe_parts
from coreselect_integrations.pretraining.watch import Watch, resolved
from coreselect_integrations.systems.dynacl import MomentumEncoder
from coreselect_integrations.training.batches import NonSingletonBatches, ProgressLoader
from coreselect_integrations.training.data_parallel import DataParallel, other_ranks_named
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.resident import ResidentLoader, loader_for
from coreselect_integrations.training.runs import Run
from coreselect_integrations.training.schedule import Schedule
from coreselect_integrations.training.workers import Worker


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A trained network in evaluation mode, its spec, and one record for each epoch, as in `log.jsonl`."""

    network: RoutedNetwork
    spec: NetworkSpec
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
    ended: Callable[[Mapping[str, Any]], object] | None = None,
    start: str | Path | None = None,
    until: int | None = None,
    store: str | Path | None = None,
    keep_every: int = 1,
    coreset: Selection | None = None,
    weights: Saved | None = None,
    division: Mapping[str, Any] | None = None,
    snapshot_every: int | None = None,
    probe_every: int | None = None,
    record_features: bool = False,
) -> Pretrained:
    """Train a network in a folder, or continue the run that is there.

    A run can be killed at any moment and called again with the same arguments: it ends with the same weights, bit for bit on
    a CPU. Its draws depend on the seed and the epoch only, and everything else is in `last.pt`.

    In a torch process group every rank calls it. The ranks share the sweeps of the selections, and every batch of training: see
    `training.data_parallel`. Rank 0 writes the folder, which all of them read.

    Args:
        settings: the system and its numbers.
        pool: map-style dataset of (x, y), or of x alone for the contrastive systems; x float [C, H, W] in [0, 1].
        validation: images whose RD a selector may read, disjoint from the pool; may be empty where nothing is selected.
        folder: of the run; made if it is missing.
        selector: the selection method; None trains on the whole pool in every epoch.
        num_workers: processes that read images.
        timeout: seconds to wait for a batch of these; 0 waits for ever.
        select_batch_size: of the forward passes of a selection; it changes only memory and time.
        device: where to train; None is the CPU.
        progress: called with (part, examples done, examples in all) during an epoch.
        ended: called with the record of each epoch that has ended; where it returns True, the run stops, as at `until`.
        start: folder of another run of the same network on the same pool. This run begins with the weights, momenta and
            records of that run; the count of seen examples starts again.
        keep_every: epochs between two checkpoints, see `Run.open`; it changes no result.
        until: stop before this epoch, as if killed there; the folder then has no `model.pt`.
        store: a folder that keeps the sweep of the current selection batch by batch, so that a run that is killed in it goes on
            there.
        coreset: train on this selection from the first epoch on, with its weights in the loss; in place of a selector.
        weights: of a network that this one begins with, see `networks.started`.
        division: what the run records of how pool and validation were made, see `Division.record`.
        snapshot_every: write the network to `snapshots/` after every so many epochs; None never.
        probe_every: measure a linear probe (see `pretraining.probe`) after every so many epochs and record it; None never. It
            changes neither weights nor random states.
        record_features: keep what the head reads, for runs that `start` here; a selector that needs it has it anyway.
    Raises:
        RequirementError: the folder holds a run with other settings, or on other data; or there is no such device here; or the
            coreset was made from another pool; or the system's second encoder follows batches of one process, and there are
            several ranks.
        OutOfBoundsError: the first image lies outside [0, 1], and the system attacks.
        NonFiniteError: training diverged; the folder holds the epoch before.
    """
    where, folder, n = usable_device(device or "cpu"), Path(folder), len(pool)
    refuse_ranks(settings, ranks.world_size())
    count = None if coreset is None else len(coreset)
    if isinstance(selector, TrustedDraws):  # the budget is a share of the pool without what is added to it
        selector, pool, count = selector.joined(pool, validation, settings.fraction)
        validation, n = (), len(pool)
    spec = network_for(settings, pool, num_workers)
    settings = replace(settings, flip=spec.channels > 1 if settings.flip is None else settings.flip)
    settings = replace(settings, guard=resolved(settings))
    if coreset is not None:
        selector = FixedCoreset(coreset)
        settings = replace(settings, warmup=0, every=settings.epochs, align="warmup", fraction=len(coreset) / n)
    network, begun = make(spec, settings.seed), None
    if weights is not None:
        network, _ = started(weights.weights, weights.spec, spec, settings.seed)
        begun = digest_of(network.state_dict(), 8)
    network = placed(network, where)
    model = encoder_for(settings, network)
    optimizer = optimiser(
        settings.optimiser, [p for p in model.parameters() if p.requires_grad], lr=settings.lr,
        weight_decay=settings.weight_decay, momentum=settings.momentum,
    )  # fmt: skip
    if isinstance(model, MomentumEncoder):
        model.attach(optimizer)
    schedule = Schedule(optimizer, settings.rate_curve())
    record_features |= selector is not None and "recorded_features" in selector.requires
    history = History(n, features=record_features)  # of logits; of losses for networks without logits
    recipe = selection_task(
        settings, network, pool, validation, history, batch_size=select_batch_size, num_workers=num_workers, timeout=timeout,
        device=where,
    )  # fmt: skip
    probe_parts(recipe, settings)
    if settings.attack is not None and (seen := recipe.first_ranges["pool"]) is not None:
        check_range(seen, settings.attack.bounds, "pool inputs")
    # without a selector the share is never chosen: a pool too small for it is no fault
    share: int | float = settings.fraction if selector is not None or settings.fraction * n >= 1 else 1.0
    sampler = CoresetSampler(
        recipe if progress is None else recipe.reporting(progress), selector or Random(), count or share,
        warmup=settings.epochs if selector is None else settings.warmup, every=settings.every, seed=settings.seed,
        align=settings.align, rank=0, world_size=1, store=store,
    )  # fmt: skip
    if coreset is not None:
        check_pool(coreset, recipe.fingerprint())
    probe = None if probe_every is None else Probe.of(pool, validation, settings.radius, settings.seed)
    writes, watch = ranks.rank() == 0, Watch(settings, pool, validation)
    workers, seen = generator(settings.seed, "workers"), SeenExamples(n)
    batches = NonSingletonBatches(sampler, settings.batch_size)
    parts: dict[str, Any] = {
        "model": model, "optimizer": optimizer, "schedule": schedule, "sampler": sampler, "seen": seen,
        "history": history,
    }  # fmt: skip
    if watch.on:
        parts["watch"] = watch
    about = about_run(settings, selector, spec, recipe.fingerprint(), n, begun, division)
    trained = result_of(model)
    names = names_of(pool) if SYSTEMS[settings.system].supervised else None
    snapshots = Snapshots(
        folder, snapshot_every if writes else None,
        lambda path, epoch: save_network(path, trained, spec, {**about, EPOCH: epoch}, names),
    )  # fmt: skip
    with rng_kept(), other_ranks_named(), nullcontext() if sampler.store is None else closing(sampler.store):
        run = Run.open(
            folder, parts, about, start=start, optional=("history",),
            not_from_start=("sampler", "schedule", "seen", "watch", *(("history",) if isinstance(selector, TrustedDraws) else ())),
            old_defaults={**OLD_DEFAULTS, **NOT_DIVIDED}, writes=writes, keep_every=keep_every,
        )  # fmt: skip
        worker = Worker() if ranks.world_size() == 1 else DataParallel(model)
        loader = loader_for(
            Indexed(pool), worker.dealt(batches), what="pool", generator=workers, num_workers=num_workers, timeout=timeout,
            device=where,
        )  # fmt: skip
        mine = () if writes else (worker.rank,)  # draws from global states differ between ranks
        snapshots.after(run.done - 1, missing=True)
        watch.begin(run)
        while (epoch := run.done) < (settings.epochs if until is None else until):
            seed_everything(derive(settings.seed, "items", epoch, *mine))  # for datasets that draw from global states
            workers.manual_seed(derive(settings.seed, "workers", epoch, *mine))
            wall_start, cpu_start, before = perf_counter(), process_time(), sampler.selection
            loss, selected_by = losses(settings, epoch, model)
            sampler.task = replace(sampler.task, loss=selected_by, views=settings.views(epoch))
            sampler.set_epoch(epoch)
            chosen = sampler.selection if sampler.selection is not before else None
            select_seconds, select_cpu_seconds = perf_counter() - wall_start, process_time() - cpu_start
            schedule.set_epoch(epoch, len(loader))
            rate = schedule.rate
            draws = worker.generator(settings.seed, "training", epoch)
            reporting_loader = ProgressLoader(
                worker.following(loader, draws), f"epoch {epoch + 1}", len(sampler), progress, size=worker.size
            )
            cpu_start = process_time()
            log = train_epoch(
                watch.settings, spec, epoch, model, reporting_loader, optimizer, schedule, sampler.weights, history, where, draws,
                worker, loss,
            )  # fmt: skip
            worker.settle()
            seen.add(sampler)
            if chosen is not None and writes:
                save_coreset(chosen, folder, pool, settings, division)
            record = {
                **of_training(log, rate, len(loader)), "select_seconds": select_seconds,
                "cpu_seconds": process_time() - cpu_start, "select_cpu_seconds": select_cpu_seconds, "seen": seen.share,
                "resident": isinstance(loader, ResidentLoader), **of_selection(chosen, pool),
            }  # fmt: skip
            if probe is not None and probe_every is not None and (epoch + 1) % probe_every == 0:
                record["probe"] = probe(trained, epoch, where)
            overfits = watch(record, epoch, trained, where)
            if overfits is not None:
                record = watch.back(run, record, overfits)
                if sampler.selection is not None:
                    save_coreset(sampler.selection, folder, pool, settings, division)
                if ended is not None and ended(record) is True and run.done:
                    break
                continue
            run.keep(record if worker.world == 1 else {**record, "ranks": worker.world})
            watch.kept(run)
            snapshots.after(epoch)
            if ended is not None and ended(run.records[-1]) is True:
                break
        run.finish()
    if run.done == settings.epochs and writes:
        save_network(folder / MODEL, trained, spec, about, names)
    return Pretrained(trained.eval(), spec, tuple(run.records))
