"""The function `load`: it finds out which dataset a text on the command line names, and loads it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import IterableDataset, Subset

from coreselect.data.array_folder import array_folder, is_array_folder
from coreselect.data.cifar import cifar_archive, cifar_folder, is_cifar
from coreselect.data.cifar101 import cifar101_folder, is_cifar101
from coreselect.data.digits import digits
from coreselect.data.downsampled import downsampled_folder, is_downsampled
from coreselect.data.hugging_face import hugging_face_folder, is_hugging_face
from coreselect.data.image_folder import image_folder, is_image_folder
from coreselect.data.images import ImageSet, check_rows
from coreselect.data.own_items import with_images
from coreselect.data.resizing import Resized, check_resize
from coreselect.data.stl10 import is_stl10, stl10_folder
from coreselect.data.svhn import is_svhn, svhn_folder
from coreselect.errors import CoreselectError, DataError
from coreselect.support.factories import is_spec, resolve

Split = Literal["train", "test"]

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_KNOWN = (
    "digits, a folder of arrays (images_train.npy), of CIFAR's, CIFAR-10.1's, STL-10's or SVHN's files, of downsampled "
    "ImageNet's (train_data_batch_1), of a dataset of Hugging Face or of images (class/picture.png), a CIFAR .tar.gz, or "
    "package.module:factory"
)


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of folders: how it is recognised and read, and whether the reader takes a part, or a size and a way to resize."""

    fits: Callable[[Path], bool]
    read: Callable[..., ImageSet]
    parts: bool = True
    resizes: bool = False


_FORMATS = (
    _Format(is_array_folder, array_folder, parts=False),
    _Format(is_cifar, cifar_folder),
    _Format(is_cifar101, cifar101_folder),
    _Format(is_downsampled, downsampled_folder, parts=False),
    _Format(is_stl10, stl10_folder),
    _Format(is_svhn, svhn_folder),
    _Format(is_hugging_face, hugging_face_folder),
    _Format(is_image_folder, image_folder, resizes=True),
)


def load(
    where: str | Path,
    split: Split = "train",
    rows: int | None = None,
    *,
    size: int | None = None,
    resize: str | None = None,
) -> Any:
    """Load one split of a map-style dataset of (float32 image [C, H, W] in [0, 1], int label), or of images only.

    Args:
        where: one of

            - `digits`;
            - a folder with `images_train.npy` (see `array_folder`);
            - a folder or `.tar.gz` of CIFAR-10 or CIFAR-100 as published; `FOLDER@worse` takes the labels of CIFAR-N;
            - a folder of CIFAR-10.1, which has test images only; `FOLDER@v4` takes its older version;
            - a folder of STL-10's binary files; `FOLDER@unlabelled`, `FOLDER@all` and `FOLDER@fold0` take other training
              images;
            - a folder of SVHN's `.mat` files; `FOLDER@extra` and `FOLDER@all` take other training images;
            - a folder with the batches of downsampled ImageNet, of any side;
            - a folder that `datasets` of Hugging Face has saved; `FOLDER@fine_label` names the column of the labels;
            - a folder of images by class, or of images without classes; `FOLDER@unlabelled` and `FOLDER@all` read the images
              of a folder `unlabelled`;
            - `package.module:factory` or `path/to/file.py:factory`, a function that returns any map-style dataset. It is
              called with `split=` if it takes this argument.
        split: "train" or "test"; where there is no test split, the validation split serves, with a warning.
        rows: keep only the first images, this many; an image folder keeps the first of each class, in proportion.
        size: the side in pixels of the square to which images are resized; not for a factory.
        resize: how they are resized: `fit` (the default), `stretch`, `imagenet` or `box`, see `coreselect.data.resizing`.
    Returns:
        An `ImageSet`, or what the factory returned (a `Subset` of it, if `rows` is given).
    Raises:
        DataError: there is nothing at `where`, or nothing that is known, or it is damaged.
        MissingExtraError: the format needs a package that is not installed.
        UnknownNameError: the module of the factory has no such name, the data have no such part, or images are not resized
            in such a way.
    """
    if split not in ("train", "test"):
        raise DataError(f"split is {split!r}; it is 'train' or 'test'.")
    check_resize(size, resize, str(where))
    try:
        dataset = _load(str(where), split, size, resize)
    except OSError as why:
        raise DataError(f"{where} cannot be read ({why.strerror}).") from why
    if rows is None:
        return dataset
    if isinstance(dataset, ImageSet):
        return dataset.first(rows)
    check_rows(rows, len(dataset), str(where))
    return Subset(dataset, range(rows))


def _load(where: str, split: Split, size: int | None, resize: str | None) -> Any:
    """Find out what `where` names, and load it."""
    path, part = _without_part(where)
    if where == "digits":
        return _resized(digits(split), size, resize)
    if path.is_dir():
        known = next((f for f in _FORMATS if f.fits(path)), None)
        if known is None:
            raise DataError(
                f"{where} holds no known dataset: looked for images_train.npy, the files of CIFAR, CIFAR-10.1, STL-10 and SVHN, "
                "train_data_batch_1, dataset_info.json, class folders and images; for another form give "
                "package.module:factory, a function that returns a dataset."
            )
        if part is not None and not known.parts:
            raise DataError(f"{where} names the part {part!r} of data that have no parts: give {path}.")
        named = {} if part is None else {"part": part}
        if known.resizes:
            return known.read(path, split, **named, size=size, resize=resize)
        return _resized(known.read(path, split, **named), size, resize)
    if path.is_file():
        if not path.name.endswith(_ARCHIVES):
            raise DataError(f"{where} is a file of an unknown format: give {_KNOWN}.")
        return _resized(cifar_archive(path, split, part), size, resize)
    if is_spec(where):
        if size is not None:
            raise DataError(f"size {size} was given for {where}: a dataset of your own resizes its images itself.")
        return _from_factory(where, split)
    raise DataError(f"there is nothing at {where}: give {_KNOWN}.")


def _without_part(where: str) -> tuple[Path, str | None]:
    """Divide `FOLDER@part` into the folder and the part; a name with @ that exists has no part."""
    path = Path(where).expanduser()
    before, at, part = where.rpartition("@")
    if not at or not before or not part or path.exists() or not Path(before).expanduser().exists():
        return path, None
    return Path(before).expanduser(), part


def _resized(dataset: ImageSet, size: int | None, resize: str | None) -> ImageSet:
    return dataset if size is None else Resized(dataset, size, resize)


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
    except SystemExit as why:
        raise DataError(f"dataset {spec!r} ends the program, and is to return a dataset: raise an error.") from why
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
    return with_images(dataset)


def _takes_split(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some builtins have no signature
        return False
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == "split" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        for p in parameters
    )
