"""Accuracy under common corruptions, read from files in the format of CIFAR-10-C and CIFAR-100-C.

    corruption accuracy = mean over corruptions c of mean over severities s of accuracy(c, s)

A folder holds one file `<corruption>.npy`, uint8 [5·n, H, W, C], for each corruption, and one file `labels.npy`, integers
[5·n], for all of them. Rows (s−1)·n … s·n−1 are the same n images at severity s = 1…5.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019, which defines the 15 corruptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch
from torch import nn

from coreselect.data import Images
from coreselect.data.arrays import read_array
from coreselect.errors import DataError, UnknownNameError
from coreselect.protocols import Call, Progress, Route
from coreselect.support.devices import device_for
from coreselect_integrations.evaluation.checks import check_finite, check_logits, class_numbers
from coreselect_integrations.evaluation.reading import batches, logits_of
from coreselect_integrations.evaluation.severities import SEVERITIES, severity_rows
from coreselect_integrations.training.contexts import evaluation_mode

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
LABELS = "labels"


@dataclass(frozen=True, slots=True)
class CorruptionReport:
    """Accuracies in [0, 1] on corrupted images.

    `accuracy[corruption][severity]` is one accuracy; `by_corruption` is the mean over severities; `mean`, the "corruption
    accuracy", is the mean of those. Both means use only the listed corruptions and severities. `n` is the number of images
    behind each accuracy; `seconds` is wall-clock time.
    """

    accuracy: Mapping[str, Mapping[int, float]]
    by_corruption: Mapping[str, float]
    mean: float
    n: int
    seconds: float


def corrupted(folder: str | Path, corruption: str, severity: int, severities: Sequence[int] = SEVERITIES) -> Images:
    """Return the images of one corruption at one severity; they stay on disk, memory-mapped.

    Args:
        folder: with the files described above.
        corruption: the name of a file in the folder, without `.npy`; it need not be one of `CORRUPTIONS`.
        severity: 1 (weakest) … 5.
        severities: those that the files hold, in their order, if they do not hold all five.
    Returns:
        n items (float32 image [C, H, W] in [0, 1], int label).
    Raises:
        DataError: the folder, the file or the labels are missing or damaged, or have a wrong dtype, shape or length; or the
            labels do not repeat once for each severity.
        UnknownNameError: the folder has no such file, and it is not one of the 15 corruptions.
    """
    folder = Path(folder)
    (severity,), severities = _check_severities((severity,)), _check_severities(severities)
    (corruption,) = _corruptions_in(folder, (corruption,))
    labels = read_array(folder / f"{LABELS}.npy")  # [5·n]
    images = read_array(folder / f"{corruption}.npy")  # [5·n, H, W, C]
    if labels.ndim != 1 or not len(labels):
        raise DataError(
            f"{folder}/{LABELS}.npy is {list(labels.shape)}: [5·n] is needed, one label for each of n images at 5 severities."
        )
    held = severity_rows(labels, severities, f"{folder}/{LABELS}.npy")
    if images.ndim != 4 or len(images) != len(labels):
        raise DataError(
            f"{folder}/{corruption}.npy is {list(images.shape)}: uint8 [{len(labels)}, H, W, C] is needed, one row for each label."
        )
    if severity not in held:
        raise DataError(f"{folder} holds the severities {', '.join(map(str, held))}, asked for {severity}.")
    rows = held[severity]
    return Images(images[rows], labels[rows], f"{folder.resolve().name} {corruption} {severity}")


def evaluate_corruptions(
    model: nn.Module,
    folder: str | Path,
    *,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    rows: int | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    call: Call | None = None,
    route: Route = "adversarial",
    progress: Progress | None = None,
) -> CorruptionReport:
    """Measure accuracy on every (corruption, severity).

    Every file is checked before the first image is classified, so a damaged folder is refused at once.

    Args:
        model: [B, C, H, W] in [0, 1] → logits [B, classes]; its modes, flags and gradients are restored afterwards.
        folder: with the files described above.
        corruptions: names of files; None means those of the 15 that the folder has. Other files are used only if named here.
        severities: some of 1…5. Files that hold only these, in this order, are accepted too.
        rows: use only the first `rows` images of each severity; None means all.
        batch_size: it changes only memory and time.
        device: where batches are moved; None leaves them where they are.
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
    start, folder, device = perf_counter(), Path(folder), device_for(model, device)
    severities = _check_severities(severities)
    sets = {
        (name, severity): whole if rows is None else whole.first(rows)
        for name in _corruptions_in(folder, corruptions)
        for severity in severities
        for whole in (corrupted(folder, name, severity, severities),)
    }
    forward, done, total = logits_of(model, call, route), 0, sum(map(len, sets.values()))
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
    n = total // len(sets)
    return CorruptionReport(accuracy, by_corruption, fmean(by_corruption.values()), n, perf_counter() - start)


def _corruptions_in(folder: Path, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the corruptions to read, each once, after checking that their files exist."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: a folder with <corruption>.npy and {LABELS}.npy files is needed.")
    found = {path.stem for path in folder.glob("*.npy")} - {LABELS}
    if wanted is None:
        names = tuple(name for name in CORRUPTIONS if name in found)
        if not names:
            raise DataError(
                f"{folder} holds none of the 15 corruptions ({', '.join(CORRUPTIONS[:3])}, …) as .npy files."
            )
        return names
    names = tuple(dict.fromkeys((wanted,) if isinstance(wanted, str) else wanted))
    missing = [name for name in names if name not in found]
    if not names or any(name not in CORRUPTIONS for name in missing):
        unknown = ", ".join(repr(name) for name in missing if name not in CORRUPTIONS) or "none"
        raise UnknownNameError(
            f"{folder} holds the corruptions {', '.join(sorted(found)) or 'none'}, asked for {unknown}."
        )
    if missing:
        raise DataError(f"{folder} lacks {', '.join(f'{name}.npy' for name in missing)}.")
    return names


def _check_severities(severities: Sequence[int]) -> tuple[int, ...]:
    """Return the severities, each once, after checking their range."""
    wrong = [s for s in severities if s not in SEVERITIES]
    if wrong or not severities:
        raise DataError(f"severities are 1…5, got {', '.join(map(repr, wrong)) or 'none'}.")
    return tuple(dict.fromkeys(int(s) for s in severities))
