"""The run-time options that all ways of fine-tuning share, and the folder in which a fine-tuning is kept."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

import torch
from torch import nn
from torch.utils.data import Dataset

from coreselect.io.fingerprint import examine
from coreselect.protocols import Progress
from coreselect.support.records import digest_of
from coreselect_integrations.training.epochs import EpochEnded
from coreselect_integrations.training.runs import Run, Stateful


class RuntimeOptions(TypedDict, total=False):
    """Where and how a fine-tuning runs; every option may be left out.

    Args:
        num_workers: processes of the loader that read images; 0 by default.
        timeout: seconds to wait for a batch of these; 0 (the default) waits for ever.
        precision: of mixed-precision forward passes; None means the precision of the network.
        device: where to train; None is the CPU.
        progress: called with (mode, examples done, examples in all) after each batch.
        folder: where each epoch is kept; a fine-tuning that was killed continues from there (`runs.Run`). None keeps nothing.
        keep_every: epochs between two checkpoints, see `Run.open`; it changes no result.
        about: more JSON values that describe the fine-tuning; a folder is only continued with the same values.
        ended: called with the record of each epoch that has ended.
    """

    num_workers: int
    timeout: float
    precision: torch.dtype | None
    device: torch.device | str | None
    progress: Progress | None
    folder: str | Path | None
    keep_every: int
    about: Mapping[str, Any]
    ended: EpochEnded | None


class LoopOptions(TypedDict):
    """The options of `run_epochs` that come from `RuntimeOptions`."""

    num_workers: int
    timeout: float
    device: torch.device | str | None
    progress: Progress | None
    ended: EpochEnded | None


def loop_options(options: RuntimeOptions) -> LoopOptions:
    """Return the options that `run_epochs` takes."""
    return {
        "num_workers": options.get("num_workers", 0),
        "timeout": options.get("timeout", 0),
        "device": options.get("device"),
        "progress": options.get("progress"),
        "ended": options.get("ended"),
    }


def open_run(
    options: RuntimeOptions,
    parts: Mapping[str, Stateful],
    settings: Mapping[str, Any],
    dataset: Dataset[Any],
    network: nn.Module,
    old_defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Run | None:
    """Begin or continue the run in the folder of the options; None without a folder.

    Args:
        options: give the folder, and more settings.
        parts: see `Run.open`.
        settings: of the training; precision, a fingerprint of the data and a digest of the first weights are added.
        dataset: what is trained on.
        network: as it is before training.
        old_defaults: see `Run.open`.
    Raises:
        DataError, RequirementError: see `Run.open`.
    """
    folder = options.get("folder")
    if folder is None:
        return None
    workers, timeout = options.get("num_workers", 0), options.get("timeout", 0)
    found = examine(dataset, what="training", num_workers=workers if timeout else 0, timeout=timeout)
    added = {
        "precision": str(options.get("precision")),
        "data": found.fingerprint,
        "start": digest_of(network.state_dict(), 8),
    }
    return Run.open(
        folder,
        parts,
        {**settings, **added, **options.get("about", {})},
        restore_rng=False,
        old_defaults=old_defaults,
        keep_every=options.get("keep_every", 1),
    )
