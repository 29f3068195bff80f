"""Claims about damaged index files: they are refused in one sentence and never read wrongly."""

import io
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coreselect.errors import IndexFileError
from coreselect.io import atomic, index_file, index_formats, read, read_indices, write

INDICES = np.array([7, 0, 3, 2**40])
ARRAYS = {"source_indices": INDICES, "gains": np.array([0.1, np.nan, -np.inf, -0.0])}
META = {"a": 1.5, "b": [float("inf")]}


def _same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes()), (
            name
        )


@pytest.mark.parametrize("suffix", index_file.ENDINGS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    """A file cut at any length raises IndexFileError; only missing whole lines of a text cannot be detected."""
    path = tmp_path / f"a{suffix}"
    write(path, ARRAYS, META)
    whole_bytes = path.read_bytes()
    for length in range(len(whole_bytes)):
        path.write_bytes(whole_bytes[:length])
        if suffix in (".txt", ".csv") and whole_bytes[:length].count(b"\n") > (suffix == ".csv"):
            if whole_bytes[:length].endswith(b"\n"):
                continue
        elif suffix == ".json" and length == len(whole_bytes) - 1:
            continue  # the last byte is the line break after a whole text
        with pytest.raises(IndexFileError) as refusal:
            read_indices(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", index_file.ENDINGS)
def test_a_flipped_byte_is_refused_or_harmless(tmp_path: Path, suffix: str) -> None:
    """A flipped byte raises IndexFileError or changes nothing; a complete file never returns other content than was written."""
    path = tmp_path / f"a{suffix}"
    write(path, ARRAYS, META)
    whole_bytes = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in range(len(whole_bytes)):
        broken = bytearray(whole_bytes)
        broken[at] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            if suffix in index_formats.COMPLETE:
                arrays, meta = read(path)
                _same(arrays, ARRAYS)
                assert meta == META
            else:
                assert read_indices(path).dtype == np.int64
        except IndexFileError:
            continue


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"format":1}',
        b"\x00" * 64,
        b"PK\x03\x04",
        b"\x93NUMPY",
        pickle.dumps([1, 2]),
    ],
    ids=lambda b: repr(b[:12]),
)
def test_foreign_files_are_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    """A file with other content is refused by name in one line, with every ending."""
    for suffix in index_file.ENDINGS:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(IndexFileError, match=f"a{suffix}") as refusal:
            read_indices(path)
        assert "\n" not in str(refusal.value)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """An object array, which numpy stores as a pickle, is refused in `.npy` and `.npz` without unpickling it."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", source_indices=np.array([{}], dtype=object), meta=np.array([{}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(IndexFileError, match="never unpickled"):
            read_indices(tmp_path / name)


@pytest.mark.parametrize("text", ["1\n1\n", "-1\n", "1.5\n", "one\n", "99999999999999999999\n", "1\n\n2\n", "é\n"])
def test_lines_that_are_no_indices_are_refused(tmp_path: Path, text: str) -> None:
    """A repeated or negative index, a fraction, a word and an empty line are each refused."""
    for suffix, head in ((".txt", ""), (".csv", "index\n")):
        (tmp_path / f"a{suffix}").write_text(head + text)
        with pytest.raises(IndexFileError):
            read_indices(tmp_path / f"a{suffix}")


def test_missing_files_and_unknown_endings(tmp_path: Path) -> None:
    """A missing file is refused, and the message for an unknown ending names all five."""
    with pytest.raises(IndexFileError, match="No such file"):
        read(tmp_path / "a.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IndexFileError, match="cannot be read"):
        read(tmp_path / "folder.npz")
    for name in ("a.pt", "a", "a.npz.bak"):
        with pytest.raises(IndexFileError, match=r"\.npz, \.json, \.npy, \.txt or \.csv"):
            write(tmp_path / name, ARRAYS, META)
    assert os.listdir(tmp_path) == ["folder.npz"]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_newer_version_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The message for a file of a later version asks for an upgrade and does not call the file damaged."""
    monkeypatch.setattr(index_formats, "VERSION", 2)
    write(tmp_path / f"a{suffix}", ARRAYS, META)
    monkeypatch.undo()
    with pytest.raises(IndexFileError, match="version 2, this release reads 1: upgrade"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("broken", ["replace", "fsync", "write"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_crash_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, failure: BaseException
) -> None:
    """If any step of writing fails, the old file is unchanged and no temporary file is left."""
    path = tmp_path / "a.npz"
    write(path, ARRAYS, {"a": 1})
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise failure

    if broken == "write":

        def half(file: Any, data: Any) -> None:
            io.FileIO.write(file, bytes(data)[: len(data) // 2])
            raise failure

        monkeypatch.setattr(atomic._Writes, "write", half)
    else:
        monkeypatch.setattr(os, broken, fail)
    with pytest.raises(IndexFileError if isinstance(failure, OSError) else KeyboardInterrupt):
        write(path, {"source_indices": np.array([9])}, {"a": 2})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_folder_that_cannot_be_synced_still_gets_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that cannot sync a folder, the new file is written all the same."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "a.npy", ARRAYS, {})
    assert read_indices(tmp_path / "a.npy").tolist() == INDICES.tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2, 3]", "it holds a list, not an object with format"),
        ("[]", "it holds a list"),
        ("3", "it holds a number"),
        ('"a"', "it holds a text"),
        ("null", "it holds null"),
        ('{"arrays": [1]}', "its arrays are no object"),
        ('{"format": "coreselect-index", "arrays": {"a": 3}}', "the array 'a' is no object"),
        ("{}", "it has no 'arrays'"),
    ],
)
def test_other_json_is_named_for_what_it_is(tmp_path: Path, text: str, said: str) -> None:
    """A bare list of indices and other values: one sentence with the file's name, in no words of Python's."""
    path = tmp_path / "picks.json"
    path.write_text(text)
    for reader in (read, read_indices):
        with pytest.raises(IndexFileError, match=said) as refusal:
            reader(path)
        assert "picks.json" in str(refusal.value)
        assert "indices must be" not in str(refusal.value)
