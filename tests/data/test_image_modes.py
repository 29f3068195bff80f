"""Claims about pixels of 16 bits and more: levels stay apart, and what has no known range is refused by file and mode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coreselect.data import load
from coreselect.data.decoding import as_rgb, as_tensor
from coreselect.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="image folders need coreselect[data]")
LEVELS = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)


def written(root: Path, image: Any, name: str) -> Any:
    """The dataset of a folder that holds this image in each of two classes."""
    for c in "ab":
        (root / c).mkdir(parents=True)
        image.save(root / c / name)
    return load(root)


@pytest.mark.parametrize("name", ["0.png", "0.tif", "0.pgm"])
def test_sixty_four_levels_of_sixteen_bits_stay_apart(tmp_path: Path, name: str) -> None:
    """uint16 v becomes round(v / 257), in every format that holds 16 bits."""
    pixels = written(tmp_path, Image.fromarray(LEVELS), name).pixels(0)
    assert np.array_equal(pixels, np.repeat(np.round(LEVELS / 257).astype(np.uint8)[..., None], 3, 2))
    assert len(np.unique(pixels)) == 64


def test_big_endian_and_resized_images_are_scaled_too(tmp_path: Path) -> None:
    """The order of bytes does not matter, and resizing happens after scaling."""
    order = Image.frombytes("I;16B", (8, 8), LEVELS.astype(">u2").tobytes())
    assert np.array_equal(np.asarray(as_rgb(order, "x"))[..., 0], np.round(LEVELS / 257).astype(np.uint8))
    written(tmp_path, Image.fromarray(np.full((8, 8), 32896, np.uint16)), "0.png")
    assert np.unique(load(tmp_path, size=4).pixels(0)).tolist() == [128]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_any_sixteen_bits_are_the_nearest_eight(values: list[int]) -> None:
    """The 8-bit value is the nearest to v / 257; as a tensor nothing is rounded at all."""
    image = Image.fromarray(np.array(values, np.uint16).reshape(2, 2))
    got = np.asarray(as_rgb(image, "x"))[..., 0].ravel()
    assert np.abs(got - np.array(values) / 257).max() <= 0.5
    np.testing.assert_allclose(as_tensor(image, "x").ravel().numpy(), np.array(values) / 65535, atol=1e-7)


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_floats_and_wide_integers_are_refused_by_file_and_mode(tmp_path: Path, dtype: Any, mode: str) -> None:
    """Their range is not in the file: the sentence has the file's name and the mode."""
    with pytest.raises(DataError, match=rf"a/0\.tif is an image of the mode '{mode}'.*save it with 8 or 16 bits"):
        written(tmp_path, Image.fromarray(np.ones((8, 8), dtype)), "0.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_are_as_pillow_converts_them(mode: str) -> None:
    """Eight bits a channel: alpha is dropped, grey stays one channel as a tensor."""
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).convert(mode)
    assert np.array_equal(np.asarray(as_rgb(image, "x")), np.asarray(image.convert("RGB")))
    assert tuple(as_tensor(image, "x").shape) == ((1 if mode in ("1", "L", "LA") else 3), 8, 8)
