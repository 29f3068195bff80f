"""Claims about the splits and classes of image folders: a number means one class everywhere, and a split is no class."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from coreselect import Task, get_selector, select
from coreselect.data import load
from coreselect.errors import CoreselectError, CoreselectWarning, DataError, RequirementError
from coreselect.selectors import RCS

Image = pytest.importorskip("PIL.Image", reason="image folders need coreselect[data]")


def picture(path: Path, value: int = 0, side: int = 8) -> None:
    """Write one grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (value, value, value)).save(path)


def folders(root: Path, names: str, each: int = 1) -> None:
    """Write `each` pictures of every class."""
    for number, name in enumerate(names):
        for i in range(each):
            picture(root / name / f"{i}.png", 20 * number + i)


def tiny_imagenet(root: Path, val: dict[str, str]) -> None:
    """Write the layout of Tiny-ImageNet: boxes beside training images, unlabelled test images, a list for val."""
    for name in ("n01", "n02", "n03"):
        picture(root / "train" / name / "images" / f"{name}_0.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t62\t59\n")
    picture(root / "test" / "images" / "test_0.JPEG")
    for name in val:
        picture(root / "val" / "images" / name)
    (root / "val" / "val_annotations.txt").write_text("".join(f"{k}\t{v}\t0\t32\t44\t62\n" for k, v in val.items()))


def test_a_test_split_that_lacks_a_class_keeps_the_others_numbers(tmp_path: Path) -> None:
    """A (a, b, c) for training and (b, c) for testing: test labels are 1 and 2."""
    folders(tmp_path / "train", "abc")
    folders(tmp_path / "test", "bc")
    test = load(tmp_path, "test")
    assert test.labels.tolist() == [1, 2]
    assert test.classes == ("a", "b", "c")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=st.sets(st.sampled_from("abcdefgh"), min_size=2), kept=st.data(), word=st.sampled_from(["test", "VAL"]))
def test_every_number_means_the_class_of_the_training_split(
    tmp_path_factory: pytest.TempPathFactory, train: set[str], kept: Any, word: str
) -> None:
    """For any part of the classes in the test split, labels point to the folder that the file lies in."""
    root = tmp_path_factory.mktemp("any")
    test = kept.draw(st.sets(st.sampled_from(sorted(train)), min_size=1))
    folders(root / "Training", "".join(train))
    folders(root / word, "".join(test), each=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoreselectWarning)
        data = load(root, "test")
    assert data.classes == load(root).classes == tuple(sorted(train))
    assert [data.classes[c] for c in data.labels] == [path.parent.name for path in data.files]


def test_a_class_unknown_to_training_is_refused(tmp_path: Path) -> None:
    """The sentence names the class, also where only the case differs."""
    folders(tmp_path / "train", "abc")
    folders(tmp_path / "test", "abD")
    with pytest.raises(DataError, match=r"test has classes that the training split does not have \(D\)"):
        load(tmp_path, "test")


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "training"])
@pytest.mark.parametrize("test", ["test", "Testing", "TEST"])
def test_splits_are_found_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    """Both splits have the same two classes, and no class is called like a split."""
    folders(tmp_path / train, "ab")
    folders(tmp_path / test, "ab", each=2)
    assert load(tmp_path).classes == load(tmp_path, "test").classes == ("a", "b")
    assert len(load(tmp_path, "test")) == 4


@pytest.mark.parametrize("word", ["val", "Valid", "validation"])
def test_val_serves_as_test_and_says_so(tmp_path: Path, word: str) -> None:
    """Without a test folder the validation folder is read, with a warning that names it."""
    folders(tmp_path / "train", "abc")
    folders(tmp_path / word, "ca", each=2)
    with pytest.warns(CoreselectWarning, match=f"has no test folder: .*{word} serves as the test split"):
        data = load(tmp_path, "test")
    assert data.labels.tolist() == [0, 0, 2, 2]


def test_linked_folders_are_read_as_folders(tmp_path: Path) -> None:
    """Linked splits, linked classes and links inside a class; one that leads back to a folder around it is left out."""
    folders(tmp_path / "all", "abc", each=2)
    for place in ("root", "root/train", "inside/a", "inside/b"):
        (tmp_path / place).mkdir(parents=True)
    for name in "ac":
        (tmp_path / "root" / "train" / name).symlink_to(tmp_path / "all" / name)
    (tmp_path / "root" / "test").symlink_to(tmp_path / "root" / "train")
    (tmp_path / "inside" / "a" / "more").symlink_to(tmp_path / "all" / "b")
    (tmp_path / "inside" / "a" / "around").symlink_to(tmp_path / "inside")
    (tmp_path / "inside" / "a" / "itself").symlink_to(tmp_path / "inside" / "a")
    picture(tmp_path / "inside" / "b" / "0.png")
    for split in ("train", "test"):
        read = load(tmp_path / "root", split)
        assert (read.classes, read.labels.tolist()) == (("a", "c"), [0, 0, 1, 1])
    inside = load(tmp_path / "inside")
    assert [f.name for f in inside.files] == ["0.png", "1.png", "0.png"]
    assert inside.labels.tolist() == [0, 0, 1]


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    """`train` and `training` side by side: one of them must go."""
    folders(tmp_path / "train", "ab")
    folders(tmp_path / "training", "ab")
    with pytest.raises(DataError, match=r"train and training for one split: keep one"):
        load(tmp_path)


def test_classes_beside_a_flat_split_are_refused(tmp_path: Path) -> None:
    """plane/, bird/ and images right inside train/: nobody can know whether train is a class of trains."""
    folders(tmp_path, "ab")
    picture(tmp_path / "train" / "0.png")
    with pytest.raises(
        DataError, match="class folders a, b beside train, which is the name of a split and not of a class"
    ):
        load(tmp_path)


@pytest.mark.parametrize("where", ["0.png", "train/0.png", "images/0.png", "train/images/0.png", "one/deep/0.png"])
def test_images_without_class_folders_are_unlabelled(tmp_path: Path, where: str) -> None:
    """Flat folders, a single `images` folder and a single class: items are images, without labels."""
    for i in range(3):
        picture(tmp_path / Path(where).with_name(f"{i}.png"), i)
    data = load(tmp_path)
    assert data.labels is None
    assert data.classes is None
    assert [round(float(data[i].mean()) * 255) for i in range(3)] == [0, 1, 2]
    assert len(load(tmp_path, rows=2)) == 2
    assert "without labels" in repr(data)


def net(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))


@pytest.mark.parametrize("where", ["0.png", "images/0.png", "one/0.png"])
def test_unlabelled_images_serve_methods_that_need_no_labels(tmp_path: Path, where: str) -> None:
    """`zcore` chooses among them; a loss with labels is refused in a sentence that says what the folder holds."""
    for i in range(6):
        picture(tmp_path / Path(where).with_name(f"{i}.png"), 9 * i)
    torch.manual_seed(0)
    task = Task.from_model(net(), load(tmp_path), loss="sat")
    assert len(select(task, get_selector("zcore"), 2)) == 2
    held = TensorDataset(torch.rand(4, 3, 8, 8), torch.arange(4) % 3)
    with pytest.raises(RequirementError, match=r"labels.*(no class folders|only the class folder)"):
        select(Task.from_model(net(), load(tmp_path), held, loss="sat"), RCS(), 2)
    with pytest.raises(RequirementError, match="have no labels"):
        select(task, get_selector("grand"), 2)


def test_tiny_imagenets_validation_labels_are_read(tmp_path: Path) -> None:
    """val_annotations.txt gives the classes, numbered by the training folders; val serves, as test has no labels."""
    tiny_imagenet(tmp_path, {"val_0.JPEG": "n03", "val_1.JPEG": "n01", "val_2.JPEG": "n03"})
    assert load(tmp_path).classes == ("n01", "n02", "n03")
    assert len(load(tmp_path)) == 3
    with pytest.warns(CoreselectWarning, match="no labels .*val serves as the test split"):
        data = load(tmp_path, "test")
    assert data.labels.tolist() == [2, 0, 2]
    assert data.classes == ("n01", "n02", "n03")
    with pytest.warns(CoreselectWarning):
        assert load(tmp_path, "test", rows=2).labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val_0.JPEG\tn01\n", r"no class for val_1\.JPEG"),
        ("val_0.JPEG\tn01\nval_1.JPEG\tn02\nval_9.JPEG\tn02\n", r"lines for missing files: val_9\.JPEG"),
        ("val_0.JPEG\tn01\nval_1.JPEG\tn99\n", r"the training split does not have \(n99\)"),
        ("val_0.JPEG n01\nval_1.JPEG\tn02\n", r"line 1, is 'val_0\.JPEG n01'"),
        ("val_0.JPEG\tn01\nval_0.JPEG\tn02\nval_1.JPEG\tn02\n", "line 2"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_list_that_does_not_match_is_refused(tmp_path: Path, text: Any, said: str) -> None:
    """Missing, superfluous, contradictory and damaged lines are one sentence with the file's name."""
    tiny_imagenet(tmp_path, {"val_0.JPEG": "n01", "val_1.JPEG": "n02"})
    path = tmp_path / "val" / "val_annotations.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CoreselectError, match=said) as refusal:
        load(tmp_path, "test")
    assert "\n" not in str(refusal.value)
