"""Claims about ImageNet's validation labels by file: every published list is read, one that does not match is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coreselect.data import load
from coreselect.errors import CoreselectWarning, DataError

Image = pytest.importorskip("PIL.Image", reason="image folders need coreselect[data]")
pytestmark = pytest.mark.filterwarnings("ignore:.*serves as the test split:coreselect.errors.CoreselectWarning")

CLASSES = ("n01", "n02", "n03")
VAL = [f"ILSVRC2012_val_{i:08}" for i in (1, 2, 3, 4)]
TRUE = [2, 0, 2, 1]  # the class of each validation image
NAMES = [CLASSES[c] for c in TRUE]


def imagenet(root: Path, train: bool = True) -> None:
    """Write ImageNet's layout: class folders for training, images in one folder for validation."""
    for c in CLASSES if train else ():
        picture(root / "train" / c / f"{c}_1.JPEG")
    for name in VAL:
        picture(root / "val" / f"{name}.JPEG")


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def by_name(root: Path) -> None:
    (root / "val.txt").write_text("".join(f"{f}.JPEG {c}\n" for f, c in zip(VAL, NAMES, strict=True)))


def by_number(root: Path) -> None:
    (root / "val.txt").write_text("".join(f"val/{f}.JPEG {c}\n" for f, c in zip(VAL, TRUE, strict=True)))


def table(root: Path) -> None:
    text = "".join(f"{f}.JPEG,{c}\n" for f, c in reversed(list(zip(VAL, NAMES, strict=True))))
    (root / "val" / "val_labels.csv").write_text("filename,label\n" + text)


def kaggle(root: Path) -> None:
    text = "".join(f"{f},{c} 1 2 3 4 {c} 5 6 7 8 \n" for f, c in zip(VAL, NAMES, strict=True))
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + text)


def devkit(root: Path, ids: tuple[int, ...] = (490, 3, 77)) -> None:
    """The numbers of the devkit are in another order than the sorted names."""
    from scipy.io import savemat

    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(i, n, "a word") for i, n in zip(ids, CLASSES, strict=True)], kind)[:, None]
    savemat(folder / "meta.mat", {"synsets": synsets})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{ids[c]}\n" for c in TRUE))


@pytest.mark.parametrize("write", [by_name, by_number, table, kaggle, devkit])
def test_validation_labels_come_from_the_published_lists(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Each list gives the classes of the images, numbered by the training folders."""
    imagenet(tmp_path)
    with pytest.warns(CoreselectWarning, match="val serves as the test split"):
        assert load(tmp_path, "test").labels is None  # without a list they have none
    write(tmp_path)
    data = load(tmp_path, "test")
    assert [path.stem for path in data.files] == VAL
    assert data.labels.tolist() == TRUE
    assert data.classes == CLASSES
    assert len(load(tmp_path)) == 3


def test_a_list_is_found_above_the_published_folders(tmp_path: Path) -> None:
    """ILSVRC/Data/CLS-LOC has the images, the list of labels lies three folders above."""
    imagenet(tmp_path / "ILSVRC" / "Data" / "CLS-LOC")
    kaggle(tmp_path)
    assert load(tmp_path / "ILSVRC" / "Data" / "CLS-LOC", "test").labels.tolist() == TRUE


def test_numbers_alone_serve_without_training_images(tmp_path: Path) -> None:
    """A validation split alone: numbers stay what they are, names are numbered in sorted order."""
    imagenet(tmp_path, train=False)
    by_number(tmp_path)
    assert load(tmp_path, "test").labels.tolist() == TRUE
    assert load(tmp_path, "test").classes is None
    by_name(tmp_path)
    assert load(tmp_path, "test").labels.tolist() == TRUE


ANIMALS = ("golden eagle", "golden retriever", "owl, great grey")


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "write",
    [
        lambda name, animal: f'{name},"{animal}",7',
        lambda name, animal: f'"val/{name}", "{animal}"',
        lambda name, animal: f"{name}\t{animal}\t7",
    ],
)
def test_names_of_classes_may_have_blanks_and_commas(
    tmp_path: Path, write: Callable[[str, str], str], train: bool
) -> None:
    """The class is the whole second field between commas or tabs, with a byte order mark in front and without."""
    for animal in ANIMALS if train else ():
        picture(tmp_path / "train" / animal / "1.JPEG")
    for name in VAL:
        picture(tmp_path / "val" / f"{name}.JPEG")
    lines = [write(f"{f}.JPEG", ANIMALS[c]) for f, c in zip(VAL, TRUE, strict=True)]
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "val.txt").write_text("\n".join(lines), encoding=encoding)
        data = load(tmp_path, "test")
        assert (data.labels.tolist(), data.classes) == (TRUE, ANIMALS)


def test_a_name_and_a_class_divided_by_blanks_are_clear_or_refused(tmp_path: Path) -> None:
    """All words behind the name are the class if training has it, the first word may be; otherwise a comma is asked for."""
    for animal in ("golden eagle", "golden retriever", "owl, great grey", "owl"):
        picture(tmp_path / "train" / animal / "1.JPEG")
    for name in VAL:
        picture(tmp_path / "val" / f"{name}.JPEG")
    lines = ["golden retriever", "golden eagle", "owl, great grey", "owl of the north"]
    text = "".join(f"{f}.JPEG {c}\n" for f, c in zip(VAL, lines, strict=True))
    (tmp_path / "val.txt").write_text(text)
    assert load(tmp_path, "test").labels.tolist() == [1, 0, 3, 2]
    (tmp_path / "val.txt").write_text(text.replace("golden eagle", "golden hamster"))
    with pytest.raises(DataError, match=r"line 2, has the class 'golden' or 'golden hamster', .* write a comma"):
        load(tmp_path, "test")


def test_boxes_are_no_part_of_a_class_in_any_list(tmp_path: Path) -> None:
    """Kaggle's and Tiny-ImageNet's lines are read under another name, too: a class with four numbers, once or repeated."""
    imagenet(tmp_path)
    for divider in (",", "\t", " "):
        text = "".join(f"{f}{divider}{c} 1 2 3 4 {c} 5 6 7 8 \n" for f, c in zip(VAL, NAMES, strict=True))
        (tmp_path / "val.txt").write_text(text)
        assert load(tmp_path, "test").labels.tolist() == TRUE


def test_class_folders_count_more_than_a_list(tmp_path: Path) -> None:
    """Validation images that were sorted into class folders are read by them."""
    imagenet(tmp_path)
    by_number(tmp_path)
    for name, c in zip(VAL, reversed(TRUE), strict=True):
        (tmp_path / "val" / CLASSES[c]).mkdir(exist_ok=True)
        (tmp_path / "val" / f"{name}.JPEG").rename(tmp_path / "val" / CLASSES[c] / f"{name}.JPEG")
    assert load(tmp_path, "test").labels.tolist() == sorted(TRUE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{VAL[0]}.JPEG 2\n", r"no class for .*_00000002\.JPEG, .* unpack"),
        ("".join(f"{f}.JPEG 1\n" for f in [*VAL, "x"]), r"lines for missing files: x\.JPEG"),
        ("".join(f"{f}.JPEG n9\n" for f in VAL), r"does not have \(n9\)"),
        ("".join(f"{f}.JPEG {i}\n" for i, f in enumerate(VAL, 0)), "numbers up to 3 for 3 classes:"),
        ("".join(f"{f}.JPEG {min(i, 3)}\n" for i, f in enumerate(VAL, 1)), "look as if they begin at 1"),
        ("".join(f"{f}.JPEG\n" for f in VAL), "line 1, is 'ILSVRC2012_val_00000001.JPEG': one file name and its class"),
        ("".join(f"{f}.JPEG 1\n{f}.JPEG 2\n" for f in VAL), "line 2, is"),
        ("\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_list_that_does_not_match_is_refused(tmp_path: Path, text: Any, said: str) -> None:
    """Missing, superfluous, contradictory and damaged lines are one sentence with the list's name."""
    imagenet(tmp_path)
    (tmp_path / "val.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said) as refusal:
        load(tmp_path, "test")
    assert str(tmp_path / "val.txt") in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("meta.mat", None, r"without meta\.mat"),
        ("meta.mat", b"MATLAB 5.0", r"meta\.mat is cut off"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n77\n", "has 2 lines for 4 images"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n77\n5\n3\n", "has the line '5'"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n77\nx\n3\n", "has the line 'x'"),
    ],
)
def test_a_damaged_devkit_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """A missing or damaged table of classes, and numbers that do not fit it."""
    imagenet(tmp_path)
    devkit(tmp_path)
    path = tmp_path / "ILSVRC2012_devkit_t12" / "data" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(tmp_path, "test")


@pytest.mark.parametrize("names", [("x/1.png", "y/1.png"), ("1.png", "1.jpg")], ids=["folders", "endings"])
@pytest.mark.parametrize("by", ["val.txt", "val/val_annotations.txt"])
def test_two_images_of_one_name_in_a_list_are_refused(tmp_path: Path, names: tuple[str, str], by: str) -> None:
    """A list names images without their folders, and may leave their endings out: both would get the label of one line."""
    for place in ("train/a/0.png", "train/b/0.png", *(f"val/images/{name}" for name in names)):
        picture(tmp_path / place)
    (tmp_path / by).write_text("1\ta\n" if names[0] == "1.png" else "1.png\ta\n")
    known_by_stem = by == "val.txt" or names[0] != "1.png"  # Tiny-ImageNet's list has the endings
    with pytest.raises(DataError, match="are both '1" if known_by_stem else "no class for"):
        load(tmp_path, "test")


def test_unlabelled_images_without_splits_are_no_class_and_no_part(tmp_path: Path) -> None:
    """Beside class folders they would be a class, and the part `all` would hold them twice; beside a flat split they are a part."""
    for place in ("a/0.png", "b/0.png", "unlabelled/0.png"):
        picture(tmp_path / "no" / place)
    for part in ("", "@unlabelled", "@all"):
        with pytest.raises(DataError, match="has the folder unlabelled and no train folder beside it"):
            load(f"{tmp_path / 'no'}{part}")
    for place in ("train/0.png", "unlabelled/1.png"):
        picture(tmp_path / "flat" / place)
    assert [f.name for f in load(f"{tmp_path / 'flat'}@all").files] == ["0.png", "1.png"]
    assert len(load(tmp_path / "flat")) == 1


def test_unlabelled_images_beside_the_splits_are_a_part(tmp_path: Path) -> None:
    """`FOLDER@unlabelled` reads them, `FOLDER@all` adds them to training; without the folder both are refused."""
    imagenet(tmp_path)
    with pytest.raises(DataError, match="no folder `unlabelled`"):
        load(f"{tmp_path}@unlabelled")
    for i in range(2):
        picture(tmp_path / "Unlabeled" / f"{i}.png")
    assert len(load(f"{tmp_path}@unlabelled", size=4)) == 2
    whole = load(f"{tmp_path}@all")
    assert len(whole) == 5
    assert whole.labels is None
    assert len(load(tmp_path)) == 3
    by_name(tmp_path)
    assert load(f"{tmp_path}@all", "test").labels.tolist() == TRUE
