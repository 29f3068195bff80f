"""Claims about datasets on disk: every format gives what was written, and hostile files are refused unrun."""

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from coreselect.data import Images, ImageSet, labels_of, load
from coreselect.data.array_folder import is_array_folder
from coreselect.errors import DataError, UnknownNameError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)  # [N, H, W, C]
FLAT = PIXELS.transpose(0, 3, 1, 2).reshape(20, 3072)  # CIFAR's order: red, green, blue planes
LABELS = np.arange(20) % 10


class Evil:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def python_cifar10(folder: Path, protocol: int = 2) -> None:
    """Write 5 × 4 training images and 4 test images as CIFAR-10's Python files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(5):
        batch = {b"data": FLAT[4 * i : 4 * i + 4], b"labels": LABELS[4 * i : 4 * i + 4].tolist(), b"batch_label": b"x"}
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps(batch, protocol))
    (folder / "test_batch").write_bytes(pickle.dumps({"data": FLAT[:4], "labels": LABELS[:4].tolist()}, protocol))
    names = {b"label_names": [b"class %d" % i for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol))


def python_cifar100(folder: Path) -> None:
    """Write 20 training and 20 test images as CIFAR-100's Python files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        held = {b"data": FLAT, b"fine_labels": (LABELS * 10).tolist(), b"coarse_labels": LABELS.tolist()}
        (folder / name).write_bytes(pickle.dumps(held, 2))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"c%d" % i for i in range(100)]}, 2))


def binary_cifar(folder: Path, classes: int) -> None:
    """Write 20 training and 4 test images as CIFAR's binary files."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = LABELS[:, None] if classes == 10 else np.stack([LABELS, LABELS * 10], 1)
    rows = np.concatenate([labels.astype(np.uint8), FLAT], axis=1)
    if classes == 10:
        for i in range(5):
            (folder / f"data_batch_{i + 1}.bin").write_bytes(rows[4 * i : 4 * i + 4].tobytes())
        (folder / "test_batch.bin").write_bytes(rows[:4].tobytes())
        (folder / "batches.meta.txt").write_text("".join(f"c{i}\n" for i in range(10)) + "\n")
    else:
        (folder / "train.bin").write_bytes(rows.tobytes())
        (folder / "test.bin").write_bytes(rows[:4].tobytes())


def image_files(root: Path, classes: tuple[str, ...] = ("b", "a"), each: int = 3, side: int = 6) -> None:
    """Write `each` PNG files of every class."""
    image = pytest.importorskip("PIL.Image", reason="image folders need coreselect[data]")
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            image.fromarray(PIXELS[4 * c + i, :side, :side]).save(root / name / f"{i}.png")


def check(dataset: ImageSet, pixels: np.ndarray, labels: np.ndarray | None) -> None:
    """Every item is the written image, float32 [C, H, W] in [0, 1], with its label."""
    assert len(dataset) == len(pixels)
    for i in range(len(pixels)):
        item = dataset[i]
        image, label = (item, None) if isinstance(item, torch.Tensor) else item
        assert image.dtype == torch.float32
        assert tuple(image.shape) == dataset.shape
        torch.testing.assert_close(
            image, torch.from_numpy(pixels[i].transpose(2, 0, 1) / 255).float(), rtol=1e-6, atol=0
        )
        assert label == (None if labels is None else labels[i])
        assert label is None or type(label) is int


def test_images_are_a_map_style_dataset() -> None:
    """Items, iteration, a loader's batches and `first` agree with the array; 0 and 255 are exactly 0 and 1."""
    data = Images(PIXELS, LABELS, "toy", [f"c{i}" for i in range(10)])
    check(data, PIXELS, LABELS)
    assert data.shape == (3, 32, 32)
    assert len(list(data)) == 20  # type: ignore[call-overload]  # items by position are iterable
    x, y = next(iter(DataLoader(data, batch_size=20)))
    assert x.shape == (20, 3, 32, 32)
    assert y.tolist() == LABELS.tolist()
    check(data.first(3), PIXELS[:3], LABELS[:3])
    extreme = Images(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), None, "two")
    assert [extreme[0], extreme[1]] == [torch.zeros(1, 1, 1), torch.ones(1, 1, 1)]
    assert repr(data) == "Images(toy: 20 images, 32×32×3, 10 classes)"


@pytest.mark.parametrize(
    ("images", "labels", "names", "said"),
    [
        (PIXELS.astype(np.float32), None, None, "images are float32"),
        (PIXELS[0], None, None, r"uint8 \[32, 32, 3\]"),
        (PIXELS[:0], None, None, r"\[0, 32, 32, 3\]"),
        (PIXELS.transpose(0, 3, 1, 2), None, None, r"\[N, H, W, C\] is needed"),
        (PIXELS, LABELS[:3], None, r"labels are int64 \[3\]"),
        (PIXELS, LABELS * 0.5, None, "labels are float64"),
        (PIXELS, LABELS - 2, None, "negative ones are at 0, 1, 10, 11"),
        (PIXELS, LABELS, ["a"], "up to 9 and there are 1 class names"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images: Any, labels: Any, names: Any, said: str) -> None:
    """A wrong dtype, shape, length or count is one sentence that says what was got."""
    with pytest.raises(DataError, match=said):
        Images(images, labels, "toy", names)


def test_digits_are_real_and_split_by_class() -> None:
    """The 1,797 digits split 80 to 20 within every class, disjointly, and are the published values over 16."""
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits need coreselect[data]")
    train, test = load("digits"), load("digits", "test")
    assert len(train) + len(test) == 1797
    counts = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert np.all(np.abs(counts - 0.2) < 0.005)
    published = datasets.load_digits()
    split = np.concatenate([train.images, test.images])[..., 0] / 255
    order = np.lexsort(split.reshape(1797, 64).T[::-1])
    expected = np.sort(published.images.reshape(1797, 64) / 16, axis=0)
    np.testing.assert_allclose(np.sort(split.reshape(1797, 64), axis=0), expected, atol=0.5 / 255)
    assert len(np.unique(split[order], axis=0)) == len(np.unique(published.images, axis=0))
    assert np.array_equal(load("digits").images, train.images)
    assert train.shape == (1, 8, 8)
    assert train.classes == tuple("0123456789")


def test_array_folders_are_memory_mapped(tmp_path: Path) -> None:
    """An array folder gives what was saved without reading it whole; labels of any integer dtype, names by line."""
    np.save(tmp_path / "images_train.npy", PIXELS)
    np.save(tmp_path / "labels_train.npy", LABELS.astype(np.uint8))
    np.save(tmp_path / "images_test.npy", PIXELS[:5, :, :, 0])
    (tmp_path / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    train, test = load(str(tmp_path)), load(str(tmp_path), "test")
    check(train, PIXELS, LABELS)
    assert isinstance(train.images, np.memmap)
    assert train.labels.dtype == np.int64
    assert train.classes[3] == "class 3"
    check(test, PIXELS[:5, :, :, :1], None)
    check(load(str(tmp_path), rows=7), PIXELS[:7], LABELS[:7])
    for rows in (0, 21, -1):
        with pytest.raises(DataError, match=f"{rows} rows were asked for, there are 20"):
            load(str(tmp_path), rows=rows)


@pytest.mark.parametrize("name", ["images_train.npy", "labels_train.npy"])
def test_damaged_arrays_are_refused(tmp_path: Path, name: str) -> None:
    """A file cut short, a pickle, an archive or a text instead of an array is one sentence that names the file."""
    np.save(tmp_path / "images_train.npy", PIXELS[:1])
    np.save(tmp_path / "labels_train.npy", LABELS[:1])
    good = (tmp_path / name).read_bytes()
    archive = io.BytesIO()
    np.savez(archive, a=PIXELS[:1])
    marker = tmp_path / "ran"
    evil = pickle.dumps(Evil(f"touch {marker}"))
    for content in (b"", b"text", good[:40], good[:-1], archive.getvalue(), evil):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name) as refusal:
            load(str(tmp_path))
        assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    """Asking for test images that are not there says so, in every kind of folder."""
    np.save(tmp_path / "images_train.npy", PIXELS)
    python_cifar10(tmp_path / "cifar")
    (tmp_path / "cifar" / "test_batch").unlink()
    image_files(tmp_path / "folder")
    for where in (tmp_path, tmp_path / "cifar", tmp_path / "folder"):
        with pytest.raises(DataError, match="test"):
            load(str(where), "test")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_python_cifar10(tmp_path: Path, inner: str, protocol: int) -> None:
    """The five batches join in order, channels last, in the folder itself or the published one inside it."""
    python_cifar10(tmp_path / inner, protocol)
    train = load(str(tmp_path))
    check(train, PIXELS, LABELS)
    assert train.classes[9] == "class 9"
    check(load(str(tmp_path), "test"), PIXELS[:4], LABELS[:4])


def test_cifar_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """The published files were pickled by Python 2, protocol 2: byte strings for keys, codes and pixels alike."""
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
    """The binary files give the same images; of CIFAR-100's two label bytes the second, fine one counts."""
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


def test_a_pickle_that_would_run_something_is_refused_unrun(tmp_path: Path) -> None:
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
    """A batch cut anywhere, with other keys, shapes, dtypes or labels is one sentence that names the file."""
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
    """A binary file whose length is no whole number of images says so."""
    binary_cifar(tmp_path, 10)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x00" * 3074)
    with pytest.raises(DataError, match="3074 bytes, not a multiple of the 3073"):
        load(str(tmp_path))


def test_two_cifars_in_one_place_are_refused(tmp_path: Path) -> None:
    """Where two distributions lie side by side, one has to be named."""
    python_cifar10(tmp_path / "cifar-10-batches-py")
    python_cifar100(tmp_path / "cifar-100-python")
    with pytest.raises(DataError, match="name one of them"):
        load(str(tmp_path))
    python_cifar100(tmp_path / "cifar-10-batches-py")
    with pytest.raises(DataError, match="mixes 2"):
        load(str(tmp_path / "cifar-10-batches-py"))


def test_image_folders_are_sorted_and_decoded_when_asked(tmp_path: Path) -> None:
    """Classes and files are sorted, hidden and other files left out, and a file is opened when its item is read."""
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
    """`rows` takes the first files of each class in proportion; the first rows in order would be one class."""
    image_files(tmp_path, ("a", "b"), each=3)
    cut = load(str(tmp_path), rows=4)
    assert cut.labels.tolist() == [0, 0, 1, 1]
    assert [path.name for path in cut.files] == ["0.png", "1.png", "0.png", "1.png"]


def test_images_of_unequal_size_need_a_size(tmp_path: Path) -> None:
    """Unequal images are refused by name; with `size` they are cropped and resized to squares."""
    image_files(tmp_path, ("a",), each=2)
    image_files(tmp_path, ("b",), each=1, side=9)
    with pytest.raises(DataError, match=r"0\.png is 9×9 pixels, 0\.png is 6×6: give one size"):
        load(str(tmp_path))[2]
    sized = load(str(tmp_path), size=4)
    assert [tuple(sized[i][0].shape) for i in range(3)] == [(3, 4, 4)] * 3
    with pytest.raises(DataError, match="only the images of an image folder"):
        load("digits", size=4)


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    """Images right inside `train` make it a class of trains, not a split; images may lie deeper than their class."""
    image_files(tmp_path, ("plane", "train"))
    image_files(tmp_path / "bird", ("images",))
    assert load(str(tmp_path)).classes == ("bird", "plane", "train")


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    """An empty class folder would shift nothing silently: it is refused."""
    image_files(tmp_path, ("a",))
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="b is a class without an image"):
        load(str(tmp_path))


FACTORY = """
import torch
from torch.utils.data import IterableDataset, TensorDataset

def split_one(split):
    return TensorDataset(torch.zeros(8 if split == "train" else 2, 1, 4, 4))

def any_argument(**settings):
    return split_one(settings["split"])

def one():
    return TensorDataset(torch.zeros(3, 1, 4, 4))

class Stream(IterableDataset):
    def __iter__(self):
        return iter([])

def stream():
    return Stream()

def fails():
    raise KeyError("nothing\\nhere")
"""


def test_factories_are_called_with_the_split_they_take(tmp_path: Path) -> None:
    """A factory gets `split=` if its signature has it; one without has only training data; rows make a Subset."""
    (tmp_path / "sets.py").write_text(FACTORY)
    for name in ("split_one", "any_argument"):
        assert len(load(f"{tmp_path / 'sets.py'}:{name}", "test")) == 2
    assert isinstance(load(f"{tmp_path / 'sets.py'}:one"), TensorDataset)
    cut = load(f"{tmp_path / 'sets.py'}:split_one", rows=5)
    assert isinstance(cut, Subset)
    assert len(cut) == 5
    with pytest.raises(DataError, match="takes no split="):
        load(f"{tmp_path / 'sets.py'}:one", "test")


def test_factories_that_fail_are_one_sentence(tmp_path: Path) -> None:
    """A factory that raises, or returns no map-style dataset, or does not exist, is refused in one line."""
    (tmp_path / "sets.py").write_text(FACTORY)
    for name, kind, said in (
        ("fails", DataError, "KeyError"),
        ("stream", DataError, "map-style"),
        ("none", UnknownNameError, "no 'none'"),
    ):
        with pytest.raises(kind, match=said) as refusal:
            load(f"{tmp_path / 'sets.py'}:{name}")
        assert "\n" not in str(refusal.value)


def test_what_is_nothing_says_what_was_looked_for(tmp_path: Path) -> None:
    """An empty folder, a missing one, a file of another kind, and a wrong split each say what is known."""
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"looked for images_train\.npy, CIFAR's files, class folders"):
        load(str(tmp_path))
    with pytest.raises(DataError, match=r"there is nothing at .*digits, a folder of arrays"):
        load(str(tmp_path / "none"))
    with pytest.raises(DataError, match="unknown kind"):
        load(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="'val'; it is 'train' or 'test'"):
        load("digits", "val")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be read"):
        load("x" * 5000)
    assert not is_array_folder(tmp_path)


def test_labels_are_found_without_reading_items() -> None:
    """`labels_of` knows `labels`, torchvision's `targets` and Subsets of either, and says None otherwise."""
    data = Images(PIXELS, LABELS, "toy")
    found = labels_of(Subset(Subset(data, [5, 6, 7]), [2, 0]))
    assert found is not None
    assert found.tolist() == [7, 5]

    class Vision(TensorDataset):
        targets = LABELS.tolist()

    found = labels_of(Vision(torch.zeros(20)))
    assert found is not None
    assert found.dtype == np.int64
    assert labels_of(TensorDataset(torch.zeros(20))) is None
    assert labels_of(Images(PIXELS, None, "toy")) is None
