"""Claims about image folders: they are sorted, decoded when an item is read, and every class has images."""

from pathlib import Path

import numpy as np
import pytest
from datafiles import PIXELS, check, image_files

from coreselect.data import load
from coreselect.errors import DataError


def test_image_folders_are_sorted_and_decoded_when_read(tmp_path: Path) -> None:
    """Classes and files are sorted, hidden and other files are ignored, and a file is opened when its item is read."""
    image_files(tmp_path / "train", ("b", "a"))
    image_files(tmp_path / "test", ("a",), each=1)
    (tmp_path / "train" / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    train = load(str(tmp_path))
    assert train.classes == ("a", "b")
    check(train, np.concatenate([PIXELS[4:7, :6, :6], PIXELS[:3, :6, :6]]), np.array([0, 0, 0, 1, 1, 1]))
    assert len(load(str(tmp_path), "test")) == 1
    (tmp_path / "train" / "b" / "2.png").write_bytes(b"not an image")
    assert len(load(str(tmp_path))) == 6
    with pytest.raises(DataError, match=r"2\.png cannot be decoded"):
        load(str(tmp_path))[5]


def test_rows_of_an_image_folder_keep_every_class(tmp_path: Path) -> None:
    """`rows` keeps the first files of each class in proportion; the first files in order would be one class."""
    image_files(tmp_path, ("a", "b"), each=3)
    cut = load(str(tmp_path), rows=4)
    assert cut.labels.tolist() == [0, 0, 1, 1]
    assert [path.name for path in cut.files] == ["0.png", "1.png", "0.png", "1.png"]


def test_images_of_unequal_size_need_a_size(tmp_path: Path) -> None:
    """Images of unequal size are refused by name; with `size` they are cropped and resized to squares."""
    image_files(tmp_path, ("a",), each=2)
    image_files(tmp_path, ("b",), each=1, side=9)
    with pytest.raises(DataError, match=r"0\.png is 9×9 pixels, 0\.png is 6×6: give one size"):
        load(str(tmp_path))[2]
    sized = load(str(tmp_path), size=4)
    assert [tuple(sized[i][0].shape) for i in range(3)] == [(3, 4, 4)] * 3
    with pytest.raises(DataError, match="a side of at least 1 pixel"):
        load(str(tmp_path), size=0)


def test_images_may_be_in_subfolders_of_their_class(tmp_path: Path) -> None:
    """A folder inside a class folder is not a class of its own."""
    image_files(tmp_path, ("plane",))
    image_files(tmp_path / "bird", ("images",))
    assert load(str(tmp_path)).classes == ("bird", "plane")


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    """An empty class folder is refused, so that it cannot silently shift the labels."""
    image_files(tmp_path, ("a",))
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="b is a class without an image"):
        load(str(tmp_path))
