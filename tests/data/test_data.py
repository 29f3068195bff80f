"""Claims about datasets on disk: every format gives what was written, and hostile files are refused and not run."""

import io
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datafiles import FLAT, LABELS, PIXELS, Evil, check, downsampled, image_files, python_cifar10
from torch.utils.data import DataLoader, Subset, TensorDataset

from coreselect.data import Images, labels_of, load, names_of
from coreselect.data.array_folder import is_array_folder
from coreselect.errors import DataError, UnknownNameError


def test_images_are_a_map_style_dataset() -> None:
    """Items, iteration, batches of a loader and `first` agree with the array; 0 and 255 become exactly 0 and 1."""
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
    """A wrong dtype, shape, length or count is refused in one sentence that says what was got."""
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
    """An array folder gives what was saved, memory-mapped; labels have any integer dtype, and names one line each."""
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
    for names, said in (("a\n\n" + "b\n" * 9, "line 2 is empty"), ("a\nb\n" * 6, "a, b is there twice")):
        (tmp_path / "class_names.txt").write_text(names)
        with pytest.raises(DataError, match=said):  # the names after it would be those of other classes
            load(str(tmp_path))


@pytest.mark.parametrize("name", ["images_train.npy", "labels_train.npy"])
def test_damaged_arrays_are_refused(tmp_path: Path, name: str) -> None:
    """A cut file, a pickle, an archive or a text in place of an array is refused in one sentence that names the file."""
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
    """A request for test images that do not exist is refused, in every kind of folder."""
    np.save(tmp_path / "images_train.npy", PIXELS)
    python_cifar10(tmp_path / "cifar")
    (tmp_path / "cifar" / "test_batch").unlink()
    image_files(tmp_path / "folder")
    for where in (tmp_path, tmp_path / "cifar", tmp_path / "folder"):
        with pytest.raises(DataError, match="test"):
            load(str(where), "test")


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize(("npz", "protocol"), [(True, 0), (False, 0), (False, 2), (False, 3), (False, 5)])
def test_downsampled_imagenet(tmp_path: Path, side: int, npz: bool, protocol: int) -> None:
    """Ten batches of any side are joined in the order of their numbers, channels last, labels from 0; val_data is "test"."""
    downsampled(tmp_path, side=side, npz=npz, protocol=protocol)
    train, test = load(str(tmp_path)), load(str(tmp_path), "test")
    check(train, PIXELS[:, :side, :side], LABELS * 111)
    check(test, PIXELS[:3, :side, :side], LABELS[:3] * 111)
    check(load(str(tmp_path), rows=5), PIXELS[:5, :side, :side], LABELS[:5] * 111)
    assert train.labels.max() == 999
    assert repr(train) == f"Images(ImageNet-{side} train: 20 images, {side}×{side}×3, 1000 classes)"
    assert test.name == f"ImageNet-{side} test"


def test_downsampled_batches_may_be_few_and_in_both_formats(tmp_path: Path) -> None:
    """The first three batches are a dataset whose name says so; each is a pickle or an archive, also with keys of Python 2."""
    downsampled(tmp_path, batches=3)
    (tmp_path / "train_data_batch_2").unlink()
    np.savez(tmp_path / "train_data_batch_2", data=FLAT[2:4], labels=LABELS[2:4].astype(np.uint16) + 1)
    (tmp_path / "train_data_batch_3").write_bytes(pickle.dumps({b"data": FLAT[4:9], b"labels": [1, 2, 3, 4, 1000]}, 2))
    train = load(str(tmp_path))
    check(train, PIXELS[:9], np.array([0, 111, 2, 3, 0, 1, 2, 3, 999]))
    assert train.name == "ImageNet-32 train, batches 1…3"


@pytest.mark.parametrize("npz", [True, False])
def test_downsampled_batches_are_not_in_memory_twice(tmp_path: Path, npz: bool) -> None:
    """The peak of memory is the images and one batch: 1.1 times the images of ten batches, not 2 times."""
    rows = np.tile(FLAT, (40, 1))  # [800, 3072]
    for i in range(1, 11):
        content: dict[str, Any] = {"data": rows, "labels": [1] * 800}
        if npz:
            np.savez(tmp_path / f"train_data_batch_{i}", **content)
        else:
            (tmp_path / f"train_data_batch_{i}").write_bytes(pickle.dumps(content, 3))
    load(str(tmp_path))
    tracemalloc.start()
    try:
        train = load(str(tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(train) == 8000
    assert peak < 1.15 * 8000 * 3072


def test_damaged_downsampled_files_are_refused(tmp_path: Path) -> None:
    """A cut batch, one with another shape, side or label, and one that asks to run something are refused by name."""
    downsampled(tmp_path)
    path = tmp_path / "train_data_batch_2"
    marker = tmp_path / "ran"
    two = {"data": FLAT[:2], "labels": [1, 1000]}
    held: list[tuple[Any, str]] = [
        ({**two, "labels": [0, 1]}, r"1…1000, one is 0"),
        ({**two, "labels": [1, 1001]}, r"1…1000, one is 1001"),
        ({**two, "labels": [1]}, "2 integers are needed under 'labels'"),
        ({**two, "labels": [1.0, 2.0]}, "2 integers are needed"),
        ({**two, "labels": [1, 1 << 70]}, "2 integers are needed"),
        ({"data": FLAT[:2]}, "2 integers are needed"),
        ({**two, "data": FLAT[:2, :-3]}, r"uint8 \[2, 3069\], uint8 \[n, 3·S·S\] is needed"),
        ({**two, "data": FLAT[:2].astype(np.int16)}, r"int16 \[2, 3072\]"),
        ({**two, "data": FLAT[:0]}, r"uint8 \[0, 3072\]"),
        ({**two, "data": FLAT[0]}, r"uint8 \[3072\]"),
        ({**two, "data": FLAT[:2, :768]}, "of side 16, those of train_data_batch_1 have side 32"),
        ({"labels": [1, 2]}, "it is a NoneType"),
        ([], "holds a list"),
        (Evil(f"touch {marker}"), "asks to run"),
    ]
    contents = [(pickle.dumps(content), said) for content, said in held]
    for content, said in [*contents, (b"", "pickle"), (contents[0][0][:-9], "pickle"), (b"text", "pickle")]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=said) as refusal:
            load(str(tmp_path))
        assert "train_data_batch_2" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_damaged_downsampled_archives_are_refused(tmp_path: Path) -> None:
    """A file that is no archive, lacks an array, is cut or changed, or holds a pickle, is refused by name in one line."""
    downsampled(tmp_path, npz=True)
    path = tmp_path / "val_data.npz"
    good = path.read_bytes()
    marker = tmp_path / "ran"
    contents = [b"", b"text", good[:-30], good[:60] + bytes([good[60] ^ 255]) + good[61:]]
    evil = np.array([Evil(f"touch {marker}")], object)
    for arrays in ({"data": FLAT}, {"labels": LABELS + 1}, {"data": evil, "labels": LABELS + 1}):
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        contents.append(file.getvalue())
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"val_data\.npz is not a readable \.npz archive") as refusal:
            load(str(tmp_path), "test")
        assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_missing_downsampled_batches_are_refused(tmp_path: Path) -> None:
    """Batches 1 and 3 without 2, a batch in both forms, and a split without files are each refused."""
    downsampled(tmp_path, batches=3)
    (tmp_path / "train_data_batch_2").rename(tmp_path / "spare")
    with pytest.raises(DataError, match="lacks train_data_batch_2: there is a train_data_batch_3"):
        load(str(tmp_path))
    (tmp_path / "spare").rename(tmp_path / "train_data_batch_2")
    np.savez(tmp_path / "train_data_batch_1", data=FLAT, labels=LABELS + 1)
    with pytest.raises(DataError, match=r"both train_data_batch_1 and train_data_batch_1\.npz"):
        load(str(tmp_path))
    (tmp_path / "val_data").unlink()
    with pytest.raises(DataError, match="no test images: val_data is needed"):
        load(str(tmp_path), "test")
    downsampled(tmp_path / "val", batches=0)
    with pytest.raises(DataError, match="no train images: train_data_batch_1 is needed"):
        load(str(tmp_path / "val"))


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
    """A factory gets `split=` if its signature has it, otherwise it has only training data; with rows the result is a Subset."""
    (tmp_path / "sets.py").write_text(FACTORY)
    for name in ("split_one", "any_argument"):
        assert len(load(f"{tmp_path / 'sets.py'}:{name}", "test")) == 2
    assert isinstance(load(f"{tmp_path / 'sets.py'}:one"), TensorDataset)
    cut = load(f"{tmp_path / 'sets.py'}:split_one", rows=5)
    assert isinstance(cut, Subset)
    assert len(cut) == 5
    with pytest.raises(DataError, match="takes no split="):
        load(f"{tmp_path / 'sets.py'}:one", "test")


def test_factories_that_fail_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """A factory that raises, returns no map-style dataset, or does not exist is refused in one line."""
    (tmp_path / "sets.py").write_text(FACTORY)
    for name, kind, said in (
        ("fails", DataError, "KeyError"),
        ("stream", DataError, "map-style"),
        ("none", UnknownNameError, "no 'none'"),
    ):
        with pytest.raises(kind, match=said) as refusal:
            load(f"{tmp_path / 'sets.py'}:{name}")
        assert "\n" not in str(refusal.value)


def test_an_unknown_dataset_gets_a_message_that_says_what_is_known(tmp_path: Path) -> None:
    """An empty folder, a missing one, a file of another format, and a wrong split each get a message that says what is known."""
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"looked for images_train\.npy, the files of CIFAR, .*class folders"):
        load(str(tmp_path))
    with pytest.raises(DataError, match=r"there is nothing at .*digits, a folder of arrays"):
        load(str(tmp_path / "none"))
    with pytest.raises(DataError, match="unknown format"):
        load(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="'val'; it is 'train' or 'test'"):
        load("digits", "val")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be read"):
        load("x" * 5000)
    assert not is_array_folder(tmp_path)


def test_labels_and_names_are_found_without_reading_items() -> None:
    """`labels_of` finds `labels`, torchvision's `targets` and those of Subsets, and returns None otherwise."""
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
    assert names_of(Subset(Images(PIXELS, LABELS, "toy", list("abcdefghij")), [1])) == tuple("abcdefghij")
    assert names_of(data) is None
