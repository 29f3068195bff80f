"""What a file says about its size is checked before it is believed: a reader takes time and memory in proportion to the file."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coreselect.data import cifar, mat_file, plain_pickle
from coreselect.data.arrays import read_array
from coreselect.errors import CoreselectError, DataError, IndexFileError
from coreselect.io import index_file, npy
from coreselect.io.weights_file import load_verified


def npy_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def claiming(shape: object, descr: str = "<i8", values: bytes = bytes(8)) -> bytes:
    """An array file whose header claims a shape, whatever follows."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + values


WRONG = {
    "10^12 elements": claiming((10**12,)), "10^12 of none": claiming((10**12, 0, 10**12)), "no width": claiming((10**12,), "<U0"),
    "negative": claiming((-1,)), "a truth": claiming((True,)), "too few": claiming((2,)), "too many": claiming((1,), "<i4"),
    "no values": npy_bytes(np.empty((0, 3))), "nested": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
    "a structure": npy_bytes(np.zeros(2, [("a", "i4")])), "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_cannot_be_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    """By the reader of files; those with values also in an index file and in an archive, by the same reader."""
    (tmp_path / "a.npy").write_bytes(WRONG[name])
    with pytest.raises(DataError, match=r"a\.npy is not a readable .npy array \(") as caught:
        read_array(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)
    with pytest.raises(IndexFileError):
        index_file.read_indices(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("meta.npy", WRONG[name])
    with pytest.raises(IndexFileError):
        index_file.read(tmp_path / "a.npz")


def test_every_flipped_bit_of_a_header_is_found_or_harmless(tmp_path: Path) -> None:
    """An array that is read has as many bytes as before: no bit makes other rows of it."""
    saved = np.arange(24, dtype=np.int32).reshape(6, 4)
    whole = npy_bytes(saved)
    path, refused = tmp_path / "a.npy", 0
    for bit in range(8 * (len(whole) - saved.nbytes)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            found = read_array(path)
        except DataError:
            refused += 1
        else:
            assert found.nbytes == saved.nbytes
    assert refused > 600


def bomb(path: Path, name: str = "source_indices.npy", count: int = 10) -> None:
    """An archive of zeros that unpacks to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(count):
            archive.writestr(f"{i}{name}", npy_bytes(np.zeros(2**20)))


def test_an_archive_that_unpacks_to_far_more_is_refused_by_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is unpacked."""
    bomb(tmp_path / "c.npz")
    bomb(tmp_path / "model.pt")

    def opened(*args: Any, **more: Any) -> None:
        raise AssertionError("a member was opened")

    monkeypatch.setattr(zipfile.ZipFile, "open", opened)
    with pytest.raises(IndexFileError, match="10 members with 83,88"):
        index_file.read(tmp_path / "c.npz")
    with pytest.raises(DataError, match=r"model\.pt unpacks to 83,88"):
        load_verified(tmp_path / "model.pt")


def test_a_member_that_claims_another_size_is_refused(tmp_path: Path) -> None:
    """The header of the array and the directory of the archive must agree."""
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("a.npy", claiming((10**12,)))
    with zipfile.ZipFile(tmp_path / "c.npz") as archive, pytest.raises(ValueError, match="8,000,000,000,000 bytes"):
        npy.member(archive, "a.npy")


def test_an_archive_with_too_many_members_is_refused(tmp_path: Path) -> None:
    """A directory may have 10,000 entries."""
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        for i in range(npy.MEMBERS + 1):
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    with pytest.raises(IndexFileError, match="10,001 members"):
        index_file.read(tmp_path / "c.npz")


def test_a_tar_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    """Before the member is unpacked."""
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        head = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        head.size = 80 * 2**20
        archive.addfile(head, io.BytesIO(bytes(head.size)))
    with pytest.raises(DataError, match="larger than an archive of this size can hold"):
        cifar.cifar_archive(tmp_path / "cifar.tar.gz", "train")


def test_a_mat_file_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    """The size of a compressed part is in its first bytes."""
    part = zlib.compress(struct.pack("<II", 14, 2**31 - 8) + bytes(4096))
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(part)) + part)
    with pytest.raises(DataError, match="its parts are 2,147,483,640 bytes"):
        mat_file.load_mat(tmp_path / "x.mat", "file of this test")


def shared(depth: int) -> list[Any]:
    """A list of two equal lists of two equal lists …: 2 ** depth leaves, and as many objects as levels."""
    value: list[Any] = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def test_shared_lists_of_a_pickle_take_linear_time() -> None:
    """Sixty levels, which have 2^60 leaves, are read, and are shared in what is returned; so is a list inside itself."""
    found = plain_pickle.load(pickle.dumps(shared(60)), "here")
    assert found[0] is found[1]
    ring: list[Any] = []
    ring.append(ring)
    found = plain_pickle.load(pickle.dumps(ring), "here")
    assert found[0] is found


ENCODE = b"h\x01h\x00\x85R"
HOSTILE: dict[str, bytes] = {
    "memo of 2^32": b"\x80\x02]r\xff\xff\xff\xff.",
    "memo in text": b"]p4000000000\n.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "frame of 2^62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "negative": b"T\xff\xff\xff\xffx.",
    "no end": b"\x80\x02]",
    "long number": b"\x80\x02\x8b" + struct.pack("<i", 4096) + bytes(4095) + b"\x7f.",
    "long text": b"I" + b"9" * 5000 + b"\n.",
    "many wide": b"\x80\x02(" + (b"\x8a\x0a" + bytes(8) + b"\1\1") * 99 + b"t.",
    "opcode": b"\x80\x02\xff.",
    "texts": b"\x80\x02(X"
    + struct.pack("<i", 10**5)
    + b"a" * 10**5
    + b"q\x000c_codecs\nencode\nq\x01"
    + ENCODE * 999
    + b"t.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_asks_for_too_much_is_refused(name: str) -> None:
    """Lengths that are not there, memos beyond its steps, and numbers or texts without measure."""
    with pytest.raises(DataError, match="here is damaged, or not a pickle of arrays"):
        plain_pickle.load(HOSTILE[name], "here")


def pipes(folder: Path) -> list[Callable[[], Any]]:
    import os

    os.mkfifo(folder / "a.npy")
    os.mkfifo(folder / "a.npz")
    os.mkfifo(folder / "a.pt")
    return [
        lambda: read_array(folder / "a.npy"),
        lambda: index_file.read(folder / "a.npz"),
        lambda: load_verified(folder / "a.pt"),
    ]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """A reader would wait for ever."""
    for read in pipes(tmp_path):
        with pytest.raises(CoreselectError, match="no ordinary file"):
            read()


def test_weights_of_torch_pass(tmp_path: Path) -> None:
    """The check of sizes is not in the way of a file as it is saved."""
    torch.save({"a": torch.zeros(3), "b": torch.zeros(0)}, tmp_path / "w.pt")
    assert load_verified(tmp_path / "w.pt")["a"].shape == (3,)
