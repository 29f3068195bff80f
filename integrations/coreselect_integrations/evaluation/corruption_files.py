"""Corrupted images on disk, in the format of CIFAR-10-C and CIFAR-100-C.

A folder holds one file `<corruption>.npy`, uint8 [5·n, H, W, C], for each corruption, and one file `labels.npy`, integers
[5·n], for all of them. Rows (s−1)·n … s·n−1 are the same n images at severity s = 1…5.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019, which defines the 15 corruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coreselect.data import Images
from coreselect.data.arrays import read_array
from coreselect.errors import DataError, UnknownNameError
from coreselect_integrations.evaluation.generated import FUNCTIONS
from coreselect_integrations.evaluation.severities import SEVERITIES, severity_rows

CORRUPTIONS = tuple(FUNCTIONS)
LABELS = "labels"


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
    (severity,), severities = check_severities((severity,)), check_severities(severities)
    (corruption,) = corruptions_in(folder, (corruption,))
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


def corruptions_in(folder: Path, wanted: Sequence[str] | None) -> tuple[str, ...]:
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


def check_severities(severities: Sequence[int]) -> tuple[int, ...]:
    """Return the severities, each once, after checking their range."""
    wrong = [s for s in severities if s not in SEVERITIES]
    if wrong or not severities:
        raise DataError(f"severities are 1…5, got {', '.join(map(repr, wrong)) or 'none'}.")
    return tuple(dict.fromkeys(int(s) for s in severities))
