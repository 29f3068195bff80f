"""Claims about `size` and `resize`: every format is read at any side, in the four ways that papers use."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datafiles import LABELS, PIXELS, check, cifar101, downsampled, image_files, python_cifar10, stl10, svhn
from torch.utils.data import DataLoader

from coreselect.data import image_folder, kept_images, load, resizing
from coreselect.data.resizing import RESIZES
from coreselect.errors import DataError, UnknownNameError

Image = pytest.importorskip("PIL.Image", reason="resizing needs coreselect[data]")


def test_stl10_is_read_at_32_pixels(tmp_path: Path) -> None:
    """96 → 32 by `stretch` is Pillow's bilinear filter, as torchvision's Resize((32, 32)) of an image; labels stay."""
    pixels = stl10(tmp_path)
    want = [np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BILINEAR)) for p in pixels[:20]]
    small = load(tmp_path, size=32, resize="stretch")
    check(small, np.stack(want), LABELS)
    assert small.classes == load(tmp_path).classes
    assert len(load(tmp_path, rows=3, size=32)) == 3
    without = load(f"{tmp_path}@unlabelled", size=32)
    assert without.shape == (3, 32, 32)
    assert "no labels" in without.unlabelled


def test_every_format_is_resized(tmp_path: Path) -> None:
    """Digits with one channel, arrays, CIFAR, CIFAR-10.1, downsampled ImageNet, SVHN and image folders: one side for all."""
    for make in (python_cifar10, downsampled, svhn):
        make(tmp_path / make.__name__)
        assert load(tmp_path / make.__name__, size=8).shape == (3, 8, 8)
    cifar101(tmp_path / "new")
    assert load(tmp_path / "new", "test", size=48).shape == (3, 48, 48)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "images_train.npy", np.concatenate([PIXELS, PIXELS[..., :1]], 3))
    assert load(tmp_path / "arrays", size=8).shape == (4, 8, 8)
    image_files(tmp_path / "files")
    for how in RESIZES:
        assert load(tmp_path / "files", size=8, resize=how).shape == (3, 8, 8)


def test_the_digits_are_resized_in_one_channel() -> None:
    """One channel stays one; a factory is not resized."""
    pytest.importorskip("sklearn", reason="digits need coreselect[data]")
    assert load("digits", size=16).shape == (1, 16, 16)


def test_fit_and_imagenet_keep_proportions_and_the_others_the_whole_image(tmp_path: Path) -> None:
    """An image with a black left third and a white rest: what is left of the black tells what was cut off."""
    pixels = np.full((64, 96, 3), 255, np.uint8)
    pixels[:, :32] = 0
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.png")

    def black(resize: str) -> float:
        return 1 - float(load(tmp_path, size=32, resize=resize)[0][0].mean())

    assert black("stretch") == pytest.approx(1 / 3, abs=0.02)
    assert black("box") == pytest.approx(1 / 3, abs=0.02)
    assert black("fit") == pytest.approx(
        1 / 4, abs=0.02
    )  # the square begins at column 16, of which 16 columns are black
    # the shorter side becomes 37, the longer 55; the square begins at column 12, 6 of its columns are black
    assert black("imagenet") == pytest.approx(6.3 / 32, abs=0.02)


def test_box_averages_as_downsampled_imagenet_does(tmp_path: Path) -> None:
    """64 → 32 by `box` is the mean of 2×2 pixels, rounded once in each direction."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "images_train.npy", noise[None])
    small = load(tmp_path, size=32, resize="box").pixels(0)
    mean = noise.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(small - mean).max() <= 1


def test_resizing_is_refused_where_it_makes_no_sense(tmp_path: Path) -> None:
    """A way without a side, an unknown way, a side of 0 or of a slipped keyboard, and a dataset of the user's own code."""
    image_files(tmp_path / "files")
    (tmp_path / "own.py").write_text("def make():\n    return []\n")
    for where in (tmp_path / "files", "digits"):
        with pytest.raises(DataError, match="without a size"):
            load(where, resize="box")
        with pytest.raises(UnknownNameError, match="fit, stretch, imagenet, box, got 'bicubic'"):
            load(where, size=8, resize="bicubic")
        for side in (0, -1, 5000):
            with pytest.raises(DataError, match=f"size is {side}"):
                load(where, size=side)
    with pytest.raises(DataError, match="a dataset of your own resizes its images itself"):
        load(f"{tmp_path / 'own.py'}:make", size=8)


@pytest.mark.parametrize("make", [python_cifar10, image_files])
def test_images_are_resized_once_and_the_bits_stay(
    make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every read gives the bits of a dataset that keeps nothing; a second read resizes nothing, in a copied dataset neither."""
    make(tmp_path / "data")
    count: list[int] = []
    counted = {
        name: lambda image, side, work=work: (count.append(1), work(image, side))[1] for name, work in RESIZES.items()
    }
    for module in (resizing, image_folder):
        monkeypatch.setattr(module, "RESIZES", counted)
    kept = load(tmp_path / "data", size=20)
    first = [np.array(kept.pixels(i)) for i in range(len(kept))]
    made = len(count)
    again = [kept.pixels(i - len(kept)) for i in range(len(kept))]
    assert len(count) == made
    copied = pickle.loads(pickle.dumps(kept))
    monkeypatch.setattr(kept_images, "MEMORY", 0)
    fresh = load(tmp_path / "data", size=20)
    for i, pixels in enumerate(first):
        assert np.array_equal(pixels, again[i])
        assert np.array_equal(pixels, fresh.pixels(i))
        assert np.array_equal(pixels, copied.pixels(i))
    assert fresh.kept is None
    with pytest.raises(ValueError, match="read-only"):
        again[0][0] = 1


def test_processes_that_read_fill_one_memory(tmp_path: Path) -> None:
    """What a worker has resized is there for the next one and for the main process, with the same bits."""
    python_cifar10(tmp_path)
    kept = load(tmp_path, size=20)
    kept.pixels(0)  # the memory is made before the workers are
    batches = list(DataLoader(kept, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert kept.kept is not None
    assert kept.kept.known.all()
    assert torch.equal(
        torch.cat([x for x, _ in batches]), torch.stack([load(tmp_path, size=20)[i][0] for i in range(len(kept))])
    )
