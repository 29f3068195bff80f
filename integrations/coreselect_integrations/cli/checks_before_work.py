"""Checks that commands make before any work begins, so that a mistake costs a second and not a night."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from coreselect import Selector
from coreselect.budget import resolve
from coreselect.cli.divided_pool import naming_option
from coreselect.data.labels import SparseLabelsError, why_unlabelled
from coreselect.errors import BudgetError, DataError, RequirementError
from coreselect.io.sole_use import sole_use
from coreselect.loop.round_store import RoundStore
from coreselect.selectors import Filtered, PerClass, Windowed
from coreselect.selectors.combinators.filtered import kept_of
from coreselect.support import ranks
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.networks import Saved, network_file, open_network
from coreselect_integrations.pretraining.dataset_shape import count_classes, read_labels
from coreselect_integrations.pretraining.division import PLAIN, Division
from coreselect_integrations.pretraining.settings import SYSTEMS, Settings
from coreselect_integrations.pretraining.side_filter import SideFiltered


def check_folder(out: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made, or cannot be written to.

    Raises:
        DataError: it is a file, is below a file, or is closed to this user.
    """
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = f"{option} {out} cannot be a folder to write in, because of {there}: give another."
        raise DataError(why)


@contextmanager
def folder_of_run(out: Path, *, locked: bool = True) -> Iterator[None]:
    """Check the folder of a run, and keep other processes out of it while the block runs; of several ranks, the first does.

    Args:
        locked: whether this process keeps others out.
    Raises:
        DataError: it cannot be written to, or another process uses it.
    """
    check_folder(out)
    with sole_use(out) if locked and ranks.rank() == 0 else nullcontext():
        yield


@contextmanager
def store_of_run(folder: Path | None, *, locked: bool = True) -> Iterator[None]:
    """Keep other processes out of the store of a run while the block runs, and see that rows can be written to it.

    Args:
        folder: None is no store.
        locked: whether anything is written.
    Raises:
        DataError, StoreError: it cannot be written to, or another process uses it.
    """
    if folder is not None:
        check_folder(folder, "--store")
    if folder is None or not locked:
        yield
        return
    with closing(RoundStore(folder)) as store:
        store.begin()
        yield


def network_at(path: Path, *, dual: bool = False) -> Saved:
    """Load the network that --from names, and say on stderr what was recognised in a published checkpoint.

    Args:
        dual: prefer two sets of normalisations, if a published file holds the network with one and with two.
    Raises:
        DataError: there is no file, or it holds no network.
    """
    path = network_file(path)
    saved, lines = open_network(path, dual=dual)
    for line in lines:
        typer.echo(f"{path.name}: {line}", err=True)
    return saved


def classes_in(dataset: Any, name: str, purpose: str) -> int:
    """Count the classes of a labelled dataset.

    Raises:
        DataError: the purpose needs labels, and there are none, or they skip most values.
    """
    try:
        return count_classes(dataset)
    except SparseLabelsError:
        raise
    except DataError as error:
        reason = why_unlabelled(dataset)
        why = f"{purpose} needs labels, and {name} has none{reason}: items (x, y) with an integer y are needed."
        raise DataError(why) from error


def with_classes(settings: Settings, dataset: Any, pools: Iterable[Any]) -> Settings:
    """Return settings whose network knows all classes of a dataset, where one of the pools cut from it lacks the last ones."""
    if not SYSTEMS[settings.system].supervised:
        return settings
    whole = count_classes(dataset)
    return settings if all(count_classes(pool) == whole for pool in pools) else replace(settings, classes=whole)


def held_out(
    dataset: Any, size: float, seed: int, division: Division = PLAIN, option: str = "--validation"
) -> tuple[Any, Any]:
    """Split a dataset by an option, a share below 1 or a count, or as a division says. Return (pool, held out).

    Raises:
        DataError: there are fewer than two images.
        BudgetError: one part would be empty.
    """
    n = len(dataset)
    if n < 2:
        why = f"there {'is' if n == 1 else 'are'} {counted(n, 'image')} to divide by {option}: at least two are needed."
        raise DataError(why)
    with naming_option(size, n, option):
        return division.split(dataset, size, seed)


def check_filters(selector: Selector | None, fraction: float, pool: Any) -> None:
    """Refuse a filter that leaves fewer images than are to be chosen from it; a part of a mixture chooses a part of them.

    Raises:
        RequirementError: it does.
    """
    inside, n = selector, len(pool)
    while inside is not None and not isinstance(inside, Filtered | SideFiltered):
        inside = getattr(inside, "selector", None) if isinstance(inside, PerClass | Windowed) else None
    if inside is None:
        return
    k, (_, counts) = resolve(fraction, n), np.unique(read_labels(pool), return_counts=True)
    left = sum(kept_of(count, inside.keep) for count in counts.tolist())
    if k > left:
        raise RequirementError(
            f"a filter of {inside.keep:g} leaves {left:,} of {counted(n, 'image')}, and {k:,} are to be chosen: raise it, or "
            "choose fewer."
        )


def check_shares(fractions: Iterable[float], pool: int) -> None:
    """Refuse a share of the pool that holds no image.

    Raises:
        BudgetError: there is one.
    """
    for fraction in fractions:
        try:
            resolve(fraction, pool)
        except BudgetError as error:
            why = f"--fractions {fraction:g} of {counted(pool, 'image')} is none: give a larger one."
            raise BudgetError(why) from error
