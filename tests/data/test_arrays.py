"""Claims about the reader of `.npy` files: the array stays on disk, and a file that is no array is refused."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from datafiles import Evil

from coreselect.data.arrays import read_array
from coreselect.errors import DataError


def test_an_array_is_memory_mapped(tmp_path: Path) -> None:
    """The array has the dtype, the shape and the values that were saved, and it is a read-only memory map."""
    saved = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.save(tmp_path / "a.npy", saved)

    array = read_array(str(tmp_path / "a.npy"))

    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert array.dtype == saved.dtype
    assert np.array_equal(array, saved)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names the folder and the file that it lacks."""
    with pytest.raises(DataError, match=rf"{tmp_path} lacks a\.npy\."):
        read_array(tmp_path / "a.npy")


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    """An empty, cut or foreign file, an archive, a cut archive and a pickle are each refused in one line, and not run."""
    path, marker = tmp_path / "a.npy", tmp_path / "ran"
    whole, archive = io.BytesIO(), io.BytesIO()
    np.save(whole, np.arange(9))
    np.savez(archive, a=np.arange(9))
    objects = np.array([Evil(f"touch {marker}")], dtype=object)
    pickled = io.BytesIO()
    np.save(pickled, objects, allow_pickle=True)
    for content in (
        b"", b"text", whole.getvalue()[:40], whole.getvalue()[:-1], archive.getvalue(), archive.getvalue()[:50],
        pickle.dumps(objects), pickled.getvalue(),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy") as refusal:
            read_array(path)
        assert "\n" not in str(refusal.value)
    assert not marker.exists()
