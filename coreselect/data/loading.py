"""The function `load`: it finds out which dataset a text on the command line names, and loads it."""

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
    """Load one split of a map-style dataset of (float32 image [C, H, W] in [0, 1], int label), or of images only.

    Args:
        where: one of

            - `digits`;
            - a folder with `images_train.npy` (see `array_folder`);
            - a folder or `.tar.gz` of CIFAR-10 or CIFAR-100 as published;
            - a folder with the batches of downsampled ImageNet, of any side;
            - a folder of images by class, or of images without classes;
            - `package.module:factory` or `path/to/file.py:factory`, a function that returns any map-style dataset. It is
              called with `split=` if it takes this argument.
        split: "train" or "test"; for an image folder without a `test` folder, its `val` folder.
        rows: keep only the first images, this many; an image folder keeps the first of each class, in proportion.
        size: the side in pixels to which the images of an image folder are cropped and resized.
    Returns:
        An `ImageSet`, or what the factory returned (a `Subset` of it, if `rows` is given).
    Raises:
        DataError: there is nothing at `where`, or nothing that is known, or it is damaged.
        MissingExtraError: the format needs a package that is not installed.
        UnknownNameError: the module of the factory has no such name.
    """
    if split not in ("train", "test"):
        raise DataError(f"split is {split!r}; it is 'train' or 'test'.")
    try:
        dataset = _load(str(where), split, size)
    except OSError as why:
        raise DataError(f"{where} cannot be read ({why.strerror}).") from why
    if rows is None:
        return dataset
    if isinstance(dataset, ImageSet):
        return dataset.first(rows)
    check_rows(rows, len(dataset), str(where))
    return Subset(dataset, range(rows))


def _load(where: str, split: Split, size: int | None) -> Any:
    """Find out what `where` names, and load it."""
    path = Path(where).expanduser()
    if size is not None and not (path.is_dir() and _reader_for(path) is image_folder):
        raise DataError(f"size {size} was given for {where}: only the images of an image folder are resized.")
    if where == "digits":
        return digits(split)
    if path.is_dir():
        reader = _reader_for(path)
        if reader is None:
            raise DataError(
                f"{where} holds no known dataset: looked for images_train.npy, CIFAR's files, class folders, images, "
                "train_data_batch_1; for another form give package.module:factory, a function that returns a dataset."
            )
        return image_folder(path, split, size) if reader is image_folder else reader(path, split)
    if path.is_file():
        if not path.name.endswith(_ARCHIVES):
            raise DataError(f"{where} is a file of an unknown format: give {_KNOWN}.")
        return cifar_archive(path, split)
    if is_spec(where):
        return _from_factory(where, split)
    raise DataError(f"there is nothing at {where}: give {_KNOWN}.")


def _reader_for(folder: Path) -> Callable[..., ImageSet] | None:
    """Return the reader of what the folder holds, or None."""
    formats = (
        (is_array_folder, array_folder),
        (is_cifar, cifar_folder),
        (is_downsampled, downsampled_folder),
        (is_image_folder, image_folder),
    )
    return next((reader for fits, reader in formats if fits(folder)), None)


def _from_factory(spec: str, split: Split) -> Any:
    """Call a factory that the user wrote."""
    factory = resolve(spec, "dataset")
    takes_split = _takes_split(factory)
    if not takes_split and split == "test":
        raise DataError(f"dataset {spec!r} takes no split=, so it has no test images: give the factory that argument.")
    try:
        dataset = factory(split=split) if takes_split else factory()
    except CoreselectError:
        raise
    except Exception as why:  # code of the user, which may raise anything
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
