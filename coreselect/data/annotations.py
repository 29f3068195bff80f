"""Tiny-ImageNet's list of validation labels: `val_annotations.txt`, a line for each image of `val/images`.

A line holds the file's name, its class and a box (x0, y0, x1, y1), with tabs between them.
"""

from collections.abc import Sequence
from pathlib import Path

from coreselect.errors import DataError, first_few

NAME = "val_annotations.txt"


def has_annotations(folder: Path) -> bool:
    """Return whether a folder has a list of validation labels."""
    return (folder / NAME).is_file()


def refuse_same_names(path: Path, files: Sequence[Path], names: Sequence[str]) -> None:
    """Refuse two image files that are one in a list of labels, which names files without their folders.

    Args:
        path: of the list.
        files: the images.
        names: that of each image in the list.
    Raises:
        DataError: there are two files of one name.
    """
    first: dict[str, Path] = {}
    for file, name in zip(files, names, strict=True):
        if first.setdefault(name, file) != file:
            raise DataError(
                f"{path} names images without their folders, and {first[name]} and {file} are both {name!r}: give every image a "
                "name of its own, or sort them into class folders."
            )


def annotated(folder: Path, files: list[Path]) -> list[str]:
    """Return the class name of each image file, from the annotations in `folder`.

    Raises:
        DataError: a line has another form, the list and the image files do not match, or two files have one name.
    """
    path = folder / NAME
    refuse_same_names(path, files, [file.name for file in files])
    classes: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as why:
        raise DataError(f"{path} is not UTF-8 text: a line is the name of a file and its class, with a tab.") from why
    for number, line in enumerate(lines, 1):
        name, *rest = line.split("\t")
        if line.strip():
            if not rest or not name.strip() or not rest[0].strip() or classes.get(name, rest[0]) != rest[0]:
                raise DataError(
                    f"{path}, line {number}, is {line[:60]!r}: one file name and its class, with a tab, is needed."
                )
            classes[name] = rest[0].strip()
    absent = sorted({file.name for file in files} - classes.keys())
    extra = sorted(classes.keys() - {file.name for file in files})
    if absent or extra:
        said = f"no class for {first_few(absent, 3)}" if absent else f"lines for missing files: {first_few(extra, 3)}"
        raise DataError(f"{path} does not match the images in {folder} ({said}): unpack the published archive again.")
    return [classes[file.name] for file in files]
