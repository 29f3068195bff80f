"""Accuracy under common corruptions, of images on disk or of images that are made here.

    corruption accuracy = mean over corruptions c of mean over severities s of accuracy(c, s)

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019, which defines the 15 corruptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from torch import nn

from coreselect.data.resizing import Resized
from coreselect.errors import DataError
from coreselect.protocols import Call, Progress, Route
from coreselect.support.devices import device_for
from coreselect_integrations.evaluation.checks import check_finite, check_logits, class_numbers
from coreselect_integrations.evaluation.corruption_files import (
    CORRUPTIONS,
    check_severities,
    corrupted,
    corruptions_in,
)
from coreselect_integrations.evaluation.generated import Generated, check_name, described
from coreselect_integrations.evaluation.reading import batches, logits_of
from coreselect_integrations.evaluation.severities import SEVERITIES
from coreselect_integrations.training.contexts import evaluation_mode

OURS = "ours"  # in place of a folder: the corruptions that are made here
Sets = Mapping[tuple[str, int], Any]  # (corruption, severity) → labelled dataset


@dataclass(frozen=True, slots=True)
class CorruptionReport:
    """Accuracies in [0, 1] on corrupted images.

    `accuracy[corruption][severity]` is one accuracy; `by_corruption` is the mean over severities, `by_severity` the mean over
    corruptions, which the papers print; `mean`, the "corruption accuracy", is the mean of all. The means use only the listed
    corruptions and severities. `n` is the number of images behind each accuracy; `source` says where the images come from;
    `seconds` is wall-clock time.
    """

    accuracy: Mapping[str, Mapping[int, float]]
    by_corruption: Mapping[str, float]
    by_severity: Mapping[int, float]
    mean: float
    n: int
    source: str
    seconds: float


def evaluate_corruptions(
    model: nn.Module,
    folder: str | Path,
    *,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    rows: int | None = None,
    size: int | None = None,
    resize: str | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    call: Call | None = None,
    route: Route = "adversarial",
    progress: Progress | None = None,
) -> CorruptionReport:
    """Measure accuracy on every (corruption, severity) of a folder.

    Every file is checked before the first image is classified, so a damaged folder is refused at once.

    Args:
        model: [B, C, H, W] in [0, 1] → logits [B, classes]; its modes, flags and gradients are restored afterwards.
        folder: with the files that `corruption_files` describes.
        corruptions: names of files; None means those of the 15 that the folder has. Other files are used only if named here.
        severities: some of 1…5. Files that hold only these, in this order, are accepted too.
        rows: use only the first `rows` images of each severity; None means all.
        size, resize: the side to which images are resized, and how, see `coreselect.data.resizing`; None leaves them.
        batch_size: it changes only memory and time.
        device: where batches are moved; None means the device of the model.
        call: (model, x, route) → logits; None means model(x).
        route: passed to `call`.
        progress: called with ("corruptions", images done, images in all) after each batch.
    Raises:
        DataError: the folder, a file or the labels are missing or damaged, or have a wrong dtype, shape or length; there are
            fewer images than `rows`; or a severity is not in 1…5.
        UnknownNameError: the folder has no such file, and it is not one of the 15 corruptions.
        ShapeError: the model gives no logits of two or more classes, or a label is none of its classes.
        NonFiniteError: logits hold NaN or infinity; `indices` are rows of the severity.
    """
    folder, severities = Path(folder), check_severities(severities)
    sets = {
        (name, severity): whole if size is None else Resized(whole, size, resize)
        for name in corruptions_in(folder, corruptions)
        for severity in severities
        for file in (corrupted(folder, name, severity, severities),)
        for whole in (file if rows is None else file.first(rows),)
    }
    return _measure(model, sets, str(folder), batch_size, device, call, route, progress)


def evaluate_generated(
    model: nn.Module,
    dataset: Any,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    call: Call | None = None,
    route: Route = "adversarial",
    progress: Progress | None = None,
) -> CorruptionReport:
    """Measure accuracy on every (corruption, severity) of images that are corrupted here, see `generated`.

    Args:
        dataset: map-style, labelled, square images [C, H, H] in [0, 1] with 1 or 3 channels.
        corruptions: some of the 15.
        severities: some of 1…5.
        seed: decides noise, angles and fractals.
        model, batch_size, device, call, route, progress: see `evaluate_corruptions`.
    Raises:
        DataError: there are no images, they are not square, or a severity is not in 1…5.
        UnknownNameError: it is not one of the 15 corruptions.
        ShapeError, NonFiniteError: see `evaluate_corruptions`.
    """
    severities = check_severities(severities)
    names = tuple(dict.fromkeys((corruptions,) if isinstance(corruptions, str) else corruptions))
    for name in names:
        check_name(name)
    if not names or not len(dataset):
        raise DataError(f"{len(names)} corruptions of {len(dataset)} images were asked for: give at least one of each.")
    sets = {(name, severity): Generated(dataset, name, severity, seed) for name in names for severity in severities}
    source = described(dataset[0][0].shape[-1])
    return _measure(model, sets, source, batch_size, device, call, route, progress)


def _measure(
    model: nn.Module,
    sets: Sets,
    source: str,
    batch_size: int,
    device: torch.device | str | None,
    call: Call | None,
    route: Route,
    progress: Progress | None,
) -> CorruptionReport:
    """Measure accuracy on every set."""
    device = device_for(model, device)
    start, forward, done = perf_counter(), logits_of(model, call, route), 0
    total = sum(map(len, sets.values()))
    accuracy: dict[str, dict[int, float]] = {}
    with evaluation_mode(model), torch.no_grad():
        for (name, severity), images in sets.items():
            correct = seen = 0
            for x, y in batches(images, batch_size):
                x, y = x.to(device), y.to(device)  # [B, C, H, W], [B]
                out = check_logits(forward(x), len(x))  # [B, classes]
                check_finite(out.isfinite().all(1), seen + torch.arange(len(x)), f"images of {name} {severity}")
                y = class_numbers(y, seen, len(x), out.shape[1], "corruption").to(out.device)
                correct += int((out.argmax(1) == y).sum())
                done, seen = done + len(x), seen + len(x)
                if progress is not None:
                    progress("corruptions", done, total)
            accuracy.setdefault(name, {})[severity] = correct / len(images)
    by_corruption = {name: fmean(shares.values()) for name, shares in accuracy.items()}
    by_severity = {s: fmean(shares[s] for shares in accuracy.values()) for s in next(iter(accuracy.values()))}
    n = total // len(sets)
    return CorruptionReport(
        accuracy, by_corruption, by_severity, fmean(by_corruption.values()), n, source, perf_counter() - start
    )
