"""Claims about CIFAR's files: every published version gives what was written, and hostile pickles are refused and not run."""

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from datafiles import FLAT, LABELS, PIXELS, Evil, binary_cifar, check, python_cifar10, python_cifar100

from coreselect.data import load
from coreselect.errors import DataError


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_python_cifar10(tmp_path: Path, inner: str, protocol: int) -> None:
    """The five batches are joined in order, channels last, from the folder itself or from the published folder inside it."""
    python_cifar10(tmp_path / inner, protocol)
    train = load(str(tmp_path))
    check(train, PIXELS, LABELS)
    assert train.classes[9] == "class 9"
    check(load(str(tmp_path), "test"), PIXELS[:4], LABELS[:4])


def test_cifar_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """The published files are read: Python 2 pickled them with protocol 2, so keys, codes and pixels are byte strings."""
    python_cifar10(tmp_path)
    rows = FLAT[:4]

    def string(text: bytes) -> bytes:  # BINSTRING, which only Python 2 writes
        return b"T" + len(text).to_bytes(4, "little") + text

    dtype = (
        b"cnumpy\ndtype\n"
        + string(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + string(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    state = b"(K\x01K\x04M\x00\x0c\x86" + dtype + b"\x89" + string(rows.tobytes()) + b"tb"
    labels = b"](K\x00K\x01K\x02K\x03e"
    (tmp_path / "test_batch").write_bytes(
        b"\x80\x02}(" + string(b"data") + array + state + string(b"labels") + labels + b"u."
    )
    check(load(str(tmp_path), "test"), PIXELS[:4], LABELS[:4])


def test_python_cifar100_uses_the_fine_labels(tmp_path: Path) -> None:
    """CIFAR-100 has its fine labels and their names."""
    python_cifar100(tmp_path / "cifar-100-python")
    train = load(str(tmp_path))
    check(train, PIXELS, LABELS * 10)
    assert train.classes[99] == "c99"


@pytest.mark.parametrize("classes", [10, 100])
def test_binary_cifar(tmp_path: Path, classes: int) -> None:
    """The binary files give the same images; the second of CIFAR-100's two label bytes, the fine label, counts."""
    binary_cifar(tmp_path, classes)
    check(load(str(tmp_path)), PIXELS, LABELS if classes == 10 else LABELS * 10)
    check(load(str(tmp_path), "test"), PIXELS[:4], (LABELS if classes == 10 else LABELS * 10)[:4])


@pytest.mark.parametrize("kind", ["python10", "python100", "binary10", "binary100"])
def test_archives_are_read_where_they_are(tmp_path: Path, kind: str) -> None:
    """A published `.tar.gz` gives the same dataset, and nothing is extracted."""
    folder = tmp_path / "source" / "cifar"
    {
        "python10": lambda: python_cifar10(folder),
        "python100": lambda: python_cifar100(folder),
        "binary10": lambda: binary_cifar(folder, 10),
        "binary100": lambda: binary_cifar(folder, 100),
    }[kind]()
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "cifar")
    before = sorted(tmp_path.rglob("*"))
    for split in ("train", "test"):
        from_folder, from_archive = load(str(folder), split), load(str(path), split)
        check(from_archive, from_folder.images, from_folder.labels)
        assert from_archive.classes == from_folder.classes
    assert sorted(tmp_path.rglob("*")) == before
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for broken in (b"", content[:10], content[: len(content) // 2], content[:-20], bytes(flipped)):
        path.write_bytes(broken)
        with pytest.raises(DataError):
            load(str(path))


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path: Path) -> None:
    """A batch file that calls os.system raises DataError with that name, and the command does not run."""
    python_cifar10(tmp_path)
    marker = tmp_path / "ran"
    hostile = [
        pickle.dumps({b"data": FLAT[:4], b"labels": [Evil(f"touch {marker}")] * 4}),
        pickle.dumps(Evil(f"touch {marker}"), 0),
        b"cbuiltins\neval\n(S'open(\"" + str(marker).encode() + b'", "w")\'\ntR.',
        b"cnumpy\nfromfile\n(S'/etc/hostname'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n.",
    ]
    for content in hostile:
        (tmp_path / "data_batch_3").write_bytes(content)
        with pytest.raises(DataError, match="data_batch_3") as refusal:
            load(str(tmp_path))
        assert "\n" not in str(refusal.value)
    (tmp_path / "data_batch_3").write_bytes(hostile[0])
    with pytest.raises(DataError, match=r"asks to run (posix|nt)\.system"):
        load(str(tmp_path))
    assert not marker.exists()


def test_a_damaged_batch_is_refused(tmp_path: Path) -> None:
    """A batch that is cut, or has other keys, shapes, dtypes or labels, is refused in one sentence that names the file."""
    python_cifar10(tmp_path)
    path = tmp_path / "data_batch_2"
    good = path.read_bytes()
    broken = [good[:cut] for cut in range(0, 200, 7)] + [good[:-1]]
    broken += [
        pickle.dumps(held)
        for held in (
            [], {}, {b"data": FLAT[:4]}, {b"data": FLAT[:4, :-1], b"labels": [0] * 4},
            {b"data": FLAT[:4], b"labels": [0] * 3},
            {b"data": FLAT[:4].astype(np.int16), b"labels": [0] * 4}, {b"data": FLAT[:4], b"labels": ["a"] * 4},
            {b"data": FLAT[:4], b"labels": np.zeros(4)},
            {b"data": FLAT[:4].astype(np.float32), b"labels": [0] * 4}, {b"data": b"x", b"labels": [0] * 4},
        )
    ]  # fmt: skip
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(DataError, match="data_batch_2") as refusal:
            load(str(tmp_path))
        assert "\n" not in str(refusal.value)
    path.write_bytes(pickle.dumps({b"data": FLAT[:4], b"labels": [0, 1, 2, 10]}))
    with pytest.raises(DataError, match=r"0…9, one is 10"):
        load(str(tmp_path))
    path.unlink()
    with pytest.raises(DataError, match="lacks data_batch_2"):
        load(str(tmp_path))


def test_a_binary_of_another_length_is_refused(tmp_path: Path) -> None:
    """A binary file whose length is not a whole number of images is refused."""
    binary_cifar(tmp_path, 10)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x00" * 3074)
    with pytest.raises(DataError, match="3074 bytes, not a multiple of the 3073"):
        load(str(tmp_path))


def test_two_cifars_in_one_place_are_refused(tmp_path: Path) -> None:
    """If a folder holds two versions, the user must name one of them."""
    python_cifar10(tmp_path / "cifar-10-batches-py")
    python_cifar100(tmp_path / "cifar-100-python")
    with pytest.raises(DataError, match="name one of them"):
        load(str(tmp_path))
    python_cifar100(tmp_path / "cifar-10-batches-py")
    with pytest.raises(DataError, match="mixes 2"):
        load(str(tmp_path / "cifar-10-batches-py"))
