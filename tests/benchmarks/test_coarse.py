"""CIFAR-100 under the labels of its superclasses: the same pixels, five classes a superclass."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.coarse import COARSE, main
from coreselect.data import labels_of, load
from coreselect.errors import DataError


def made(folder: Path, labels: np.ndarray) -> np.ndarray:
    """Write an array folder with images of every byte; return them."""
    folder.mkdir()
    images = np.resize(np.arange(256, dtype=np.uint8), (len(labels), 4, 4, 3))
    for split in ("train", "test"):
        np.save(folder / f"images_{split}.npy", images)
        np.save(folder / f"labels_{split}.npy", labels)
    return images


def test_pixels_stay_and_labels_are_those_of_superclasses(tmp_path: Path) -> None:
    """The first rows of training, everything of the test; apples (0) are fruit (4), as are pears (57)."""
    images = made(tmp_path / "fine", np.arange(100))
    assert main(["--data", str(tmp_path / "fine"), "--out", str(tmp_path / "out"), "--rows", "60"]) == 0
    train, test = load(str(tmp_path / "out"), "train"), load(str(tmp_path / "out"), "test")
    assert (np.load(tmp_path / "out" / "images_train.npy") == images[:60]).all()
    assert (np.load(tmp_path / "out" / "images_test.npy") == images).all()
    assert np.array_equal(np.asarray(labels_of(train)), COARSE[:60])
    assert np.bincount(np.asarray(labels_of(test))).tolist() == [5] * 20
    assert (COARSE[0], COARSE[57]) == (4, 4)


def test_other_labels_are_refused(tmp_path: Path) -> None:
    """A hundred and one classes are not CIFAR-100's."""
    made(tmp_path / "fine", np.arange(101))
    with pytest.raises(DataError, match="has no labels of CIFAR-100's 100 classes"):
        main(["--data", str(tmp_path / "fine"), "--out", str(tmp_path / "out"), "--rows", "9"])
    assert not (tmp_path / "out").exists()
