"""Claims about STL-10, SVHN, CIFAR-10.1 and CIFAR-N: files as published are read, damaged ones are refused in one sentence."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datafiles import LABELS, PIXELS, Evil, check, cifar101, python_cifar10, python_cifar100, stl10, svhn

from coreselect.data import load
from coreselect.errors import CoreselectError, DataError, UnknownNameError


def test_stl10_is_read_upright_with_labels_from_0(tmp_path: Path) -> None:
    """Planes are stored column by column: row r, column c of the image is byte 96·c + r of a plane. Labels 1…10 become 0…9."""
    pixels = stl10(tmp_path / "stl10_binary")
    check(load(tmp_path), pixels[:20], LABELS)  # the published folder is found in its parent
    check(load(tmp_path / "stl10_binary", "test"), pixels[:4], LABELS[:4])
    assert load(tmp_path).classes == tuple(f"c{i}" for i in range(10))


def test_stl10_has_parts_after_an_at_sign(tmp_path: Path) -> None:
    """@unlabelled and @all have no labels, @fold3 has the images of its line; the test split is the same for all parts."""
    pixels = stl10(tmp_path)
    check(load(f"{tmp_path}@unlabelled"), pixels[:6], None)
    check(load(f"{tmp_path}@unlabeled"), pixels[:6], None)
    check(load(f"{tmp_path}@labelled"), pixels[:20], LABELS)
    whole = load(f"{tmp_path}@all")
    check(whole, np.concatenate([pixels[:20], pixels[:6]]), None)
    assert torch.equal(whole[-1], whole[25])
    assert len(load(f"{tmp_path}@all", rows=22)) == 22
    assert len(load(f"{tmp_path}@all", rows=3)) == 3
    check(load(f"{tmp_path}@fold3"), pixels[6:8], LABELS[6:8])
    check(load(f"{tmp_path}@unlabelled", "test"), pixels[:4], LABELS[:4])
    with pytest.raises(UnknownNameError, match=r"parts labelled, unlabelled, all .* fold9, got 'fold10'"):
        load(f"{tmp_path}@fold10")
    for split in ("train", "test"):
        (tmp_path / f"{split}_X.bin").unlink()
    check(load(f"{tmp_path}@unlabelled"), pixels[:6], None)  # all that pre-training reads
    with pytest.raises(DataError, match=r"lacks train_X\.bin, a file of STL-10"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage", "part", "said"),
    [
        ("train_X.bin", lambda b: b[:-1], "", r"train_X\.bin has 552,959 bytes, not a multiple of the 27,648"),
        ("train_X.bin", lambda b: b[:-27648], "", r"train_y\.bin has 20 labels for 19 images"),
        ("train_y.bin", lambda b: b"\0" + b[1:], "", r"train_y\.bin: labels of STL-10 are 1…10, one is 0"),
        ("train_y.bin", None, "", r"lacks train_y\.bin"),
        ("unlabeled_X.bin", None, "@all", r"lacks unlabeled_X\.bin"),
        ("unlabeled_X.bin", lambda b: b"", "@unlabelled", r"unlabeled_X\.bin has 0 bytes"),
        ("fold_indices.txt", lambda b: b.replace(b"6", b"600"), "@fold3", r"fold 3, has positions 600 of 20 images"),
        ("fold_indices.txt", lambda b: b.replace(b"6 7", b"6 6"), "@fold3", "repeated positions"),
        ("fold_indices.txt", lambda b: b"\xff" * 9, "@fold0", "no positions of fold 0"),
        ("fold_indices.txt", lambda b: b[:9], "@fold7", "no positions of fold 7"),
    ],
)
def test_damaged_stl10_is_refused(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes] | None, part: str, said: str
) -> None:
    """Missing, cut-off and altered files are one sentence with the file's name."""
    stl10(tmp_path)
    path = tmp_path / name
    path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=said) as refusal:
        load(f"{tmp_path}{part}")
    assert "\n" not in str(refusal.value)


def test_svhn_is_read_and_10_is_the_digit_0(tmp_path: Path) -> None:
    """X is [32, 32, 3, N]; @extra and @all are other training images."""
    svhn(tmp_path)
    check(load(tmp_path), PIXELS, LABELS)
    check(load(f"{tmp_path}@extra"), PIXELS[:6], LABELS[:6])
    check(load(f"{tmp_path}@all"), np.concatenate([PIXELS, PIXELS[:6]]), np.concatenate([LABELS, LABELS[:6]]))
    check(load(f"{tmp_path}@extra", "test"), PIXELS[:4], LABELS[:4])
    assert load(tmp_path).classes == tuple("0123456789")
    with pytest.raises(UnknownNameError, match="train, extra, all, got 'more'"):
        load(f"{tmp_path}@more")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", r"train_32x32\.mat is cut off, damaged, or no \.mat file"),
        (b"MATLAB 5.0 MAT-file" + b" " * 400, "is cut off, damaged"),
        (0.5, "is cut off, damaged"),
        (0.9, "is cut off, damaged"),
        ({"y": np.ones((4, 1))}, "'X' is missing"),
        ({"X": np.zeros((32, 32, 3, 4))}, r"'X' is float64 \[32, 32, 3, 4\]"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8)}, "no labels for its 4 images"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((5, 1))}, "no labels for its 4 images"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 11)}, "are 1…10, one is 11"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.array([["a"] * 4])}, "no labels for its 4 images"),
    ],
)
def test_damaged_svhn_is_refused(tmp_path: Path, held: Any, said: str) -> None:
    """Files that are cut off, of another form, or with other labels are one sentence with the file's name."""
    from scipy.io import savemat

    svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    if isinstance(held, dict):
        savemat(path, held)
    else:
        path.write_bytes(held if isinstance(held, bytes) else path.read_bytes()[: int(held * path.stat().st_size)])
    with pytest.raises(DataError, match=said) as refusal:
        load(tmp_path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_cifar101_has_test_images_of_two_versions(tmp_path: Path) -> None:
    """v6 is read unless v4 is named or alone; classes are CIFAR-10's; training images are refused."""
    cifar101(tmp_path / "both")
    cifar101(tmp_path / "old", ("v4",))
    check(load(tmp_path / "both", "test"), PIXELS[:4], LABELS[:4])
    check(load(f"{tmp_path / 'both'}@v4", "test"), PIXELS[:5], LABELS[:5])
    check(load(tmp_path / "old", "test"), PIXELS[:5], LABELS[:5])
    assert load(tmp_path / "old", "test").classes[-1] == "truck"
    with pytest.raises(DataError, match="a test set: it has no train images"):
        load(tmp_path / "both")
    with pytest.raises(DataError, match=r"cifar10\.1_v6_data\.npy"):
        load(f"{tmp_path / 'old'}@v6", "test")
    with pytest.raises(UnknownNameError, match="v6 and v4, got 'v5'"):
        load(f"{tmp_path / 'both'}@v5", "test")
    (tmp_path / "old" / "cifar10.1_v4_labels.npy").unlink()
    with pytest.raises(DataError, match=r"lacks cifar10\.1_v4_labels\.npy"):
        load(tmp_path / "old", "test")


WORSE = (LABELS + 3) % 10


def human(path: Path, form: str, **labels: Any) -> None:
    """Write a file of CIFAR-N in one of the forms that torch has had: zip or legacy, with arrays, tensors or lists."""
    held = {"clean_label": LABELS, "worse_label": WORSE, "random_label2": LABELS} | labels
    if form == "tensors":
        held = {key: torch.from_numpy(value) for key, value in held.items()}
    if form == "lists":
        held = {key: value.tolist() for key, value in held.items()}
    torch.save(held, path, _use_new_zipfile_serialization=form != "legacy")


@pytest.mark.parametrize("form", ["arrays", "legacy", "tensors", "lists"])
def test_labels_of_cifar_n_take_the_place_of_cifars(tmp_path: Path, form: str) -> None:
    """`FOLDER@worse` has CIFAR's images with these labels, wherever the file lies; the test split keeps its own."""
    python_cifar10(tmp_path / "cifar-10-batches-py")
    human(tmp_path / "CIFAR-10_human.pt", form)
    check(load(f"{tmp_path}@worse"), PIXELS, WORSE)
    check(load(f"{tmp_path / 'cifar-10-batches-py'}@worst"), PIXELS, WORSE)
    check(load(f"{tmp_path}@rand2"), PIXELS, LABELS)
    check(load(f"{tmp_path}@worse", "test"), PIXELS[:4], LABELS[:4])
    with pytest.raises(UnknownNameError, match=r"the labels clean, worse, worst, random2, rand2, got 'aggre'"):
        load(f"{tmp_path}@aggre")
    with pytest.raises(UnknownNameError, match="parts of CIFAR-N"):
        load(f"{tmp_path}@fold0", "test")


def test_cifar_100s_labels_of_cifar_n_are_read(tmp_path: Path) -> None:
    """`noisy` of CIFAR-100_human.pt."""
    python_cifar100(tmp_path)
    torch.save({"clean_label": LABELS * 10, "noisy_label": LABELS * 10 + 1}, tmp_path / "CIFAR-100_human.pt")
    assert load(f"{tmp_path}@noisy").labels.tolist() == (LABELS * 10 + 1).tolist()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"worse_label": WORSE[:9]}, r"worse_label is int64 \[9\]: 20 whole numbers"),
        ({"worse_label": WORSE + 5}, r"labels are 0…9, they go from 5 to 14"),
        ({"worse_label": WORSE / 2}, "worse_label is float64"),
        ({"clean_label": WORSE}, "differ from those of the images at 20 of 20 places"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: dict[str, Any], said: str) -> None:
    """Wrong lengths, ranges and types, and clean labels in another order, which would mislabel every image."""
    python_cifar10(tmp_path)
    human(tmp_path / "CIFAR-10_human.pt", "arrays", **labels)
    with pytest.raises(DataError, match=said):
        load(f"{tmp_path}@worse")
    torch.save({"worse_label": WORSE}, tmp_path / "CIFAR-10_human.pt")
    with pytest.raises(DataError, match="has no clean_label, by which the order of its labels is checked"):
        load(f"{tmp_path}@worse")


def test_a_label_file_that_runs_something_is_refused(tmp_path: Path) -> None:
    """Pickles that call a function are refused without calling it, in both forms of torch's files."""
    python_cifar10(tmp_path)
    path, ran = tmp_path / "CIFAR-10_human.pt", tmp_path / "ran"
    for form in ("arrays", "legacy"):
        torch.save({"clean_label": Evil(f"touch {ran}")}, path, _use_new_zipfile_serialization=form != "legacy")
        with pytest.raises(DataError, match=rf"asks to run {os.system.__module__}\.system"):
            load(f"{tmp_path}@worse")
        assert not ran.exists()


def test_a_damaged_label_file_is_refused(tmp_path: Path) -> None:
    """Missing, empty, cut off anywhere, an archive without labels, or no dictionary: one sentence with the file's name."""
    python_cifar10(tmp_path)
    path = tmp_path / "CIFAR-10_human.pt"
    with pytest.raises(DataError, match=r"need CIFAR-10_human\.pt beside the images"):
        load(f"{tmp_path}@worse")
    human(path, "arrays")
    whole = path.read_bytes()
    human(path, "legacy")
    old = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    torch.save([1, 2], tmp_path / "list.pt")
    other = [path.read_bytes(), (tmp_path / "list.pt").read_bytes(), b"", b"\x80\x02"]
    for content in (*(data[: len(data) * i // 5] for data in (whole, old) for i in range(1, 5)), *other):
        path.write_bytes(content)
        with pytest.raises(CoreselectError, match=r"CIFAR-10_human\.pt") as refusal:
            load(f"{tmp_path}@worse")
        assert "\n" not in str(refusal.value)


def test_parts_of_data_without_parts_are_refused(tmp_path: Path) -> None:
    """A part of an array folder is refused; a folder whose name has an at sign is itself."""
    folder = tmp_path / "mine@home"
    folder.mkdir()
    np.save(folder / "images_train.npy", PIXELS)
    check(load(folder), PIXELS, None)
    with pytest.raises(DataError, match="names the part 'best' of data that have no parts"):
        load(f"{folder}@best")
    with pytest.raises(DataError, match="there is nothing at"):
        load(f"{tmp_path / 'none'}@best")
