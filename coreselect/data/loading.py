"""Which dataset a text on the command line means: the one place that looks at what is there."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import IterableDataset, Subset

from coreselect.data.array_folder import array_folder, is_array_folder
from coreselect.data.cifar import cifar_archive, cifar_folder, is_cifar
from coreselect.data.digits import digits
from coreselect.data.downsampled import downsampled_folder, is_downsampled
from coreselect.data.image_folder import image_folder, is_image_folder
from coreselect.data.images import ImageSet, check_rows
from coreselect.errors import CoreselectError, DataError
from coreselect.support.factories import is_spec, resolve

Split = Literal["train", "test"]

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_KNOWN = (
    "digits, a folder of arrays (images_train.npy), of CIFAR's files, of downsampled ImageNet's (train_data_batch_1) "
    "or of images (class/picture.png), a CIFAR .tar.gz, or package.module:factory"
)


def load(where: str | Path, split: Split = "train", rows: int | None = None, *, size: int | None = None) -> Any:
    """Return a split of a dataset, map-style, items (float32 image [C, H, W] in [0, 1], int label) or images alone.

    Args:
        where: `digits`; a folder with `images_train.npy` (see `array_folder`); a folder or `.tar.gz` of CIFAR-10 or
            -100 as published; a folder of downsampled ImageNet's batches, of any side; a folder of images by class; or
            `package.module:factory` or `path/to/file.py:factory`, which is called, with `split=` if it takes one, and
            returns any map-style dataset.
        split: "train" or "test".
        rows: keep the first so many; an image folder keeps the first of each class, in proportion.
        size: side in pixels to which the images of an image folder are cropped and resized.
    Returns:
        An `ImageSet`, or what the factory returned (a `Subset` of it, given `rows`).
    Raises:
        DataError: nothing there, nothing that is known, or damaged; one sentence.
        MissingExtraError: the format needs a package that is not installed.
        UnknownNameError: the factory's module has no such name.
    """
    if split not in ("train", "test"):
        raise DataError(f"split is {split!r}; it is 'train' or 'test'.")
    try:
        dataset = _found(str(where), split, size)
    except OSError as why:
        raise DataError(f"{where} cannot be read ({why.strerror}).") from why
    if rows is None:
        return dataset
    if isinstance(dataset, ImageSet):
        return dataset.first(rows)
    check_rows(rows, len(dataset), str(where))
    return Subset(dataset, range(rows))


def _found(where: str, split: Split, size: int | None) -> Any:
    """Tell what `where` means, and load that."""
    path = Path(where).expanduser()
    if size is not None and not (path.is_dir() and _kind(path) is image_folder):
        raise DataError(f"size {size} was given for {where}: only the images of an image folder are resized.")
    if where == "digits":
        return digits(split)
    if path.is_dir():
        kind = _kind(path)
        if kind is None:
            raise DataError(
                f"{where} holds no dataset that is known: looked for images_train.npy, CIFAR's files, class folders, "
                "train_data_batch_1."
            )
        return image_folder(path, split, size) if kind is image_folder else kind(path, split)
    if path.is_file():
        if not path.name.endswith(_ARCHIVES):
            raise DataError(f"{where} is a file of an unknown kind: give {_KNOWN}.")
        return cifar_archive(path, split)
    if is_spec(where):
        return _made(where, split)
    raise DataError(f"there is nothing at {where}: give {_KNOWN}.")


def _kind(folder: Path) -> Callable[..., ImageSet] | None:
    kinds = (
        (is_array_folder, array_folder),
        (is_cifar, cifar_folder),
        (is_downsampled, downsampled_folder),
        (is_image_folder, image_folder),
    )
    return next((reads for fits, reads in kinds if fits(folder)), None)


def _made(spec: str, split: Split) -> Any:
    """Call a factory of the user's."""
    factory = resolve(spec, "dataset")
    takes_split = _takes_split(factory)
    if not takes_split and split == "test":
        raise DataError(f"dataset {spec!r} takes no split=, so it has no test images: give the factory that argument.")
    try:
        dataset = factory(split=split) if takes_split else factory()
    except CoreselectError:
        raise
    except Exception as why:  # the code of whoever wrote the factory: it may raise anything
        said = " ".join(str(why).split())[:200]
        raise DataError(f"dataset {spec!r}: calling it failed ({type(why).__name__}: {said}).") from why
    map_style = (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)
    )
    if not map_style:
        raise DataError(
            f"dataset {spec!r} returned a {type(dataset).__name__}: a map-style dataset, with a length, is needed."
        )
    return dataset


def _takes_split(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some builtins have no signature
        return False
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == "split" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        for p in parameters
    )
