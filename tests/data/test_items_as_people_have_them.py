"""Claims about items: images are converted, and what cannot be read is one sentence with the position and the cause."""

import collections
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

from coreselect import Task, get_selector, holdout, select
from coreselect.data.reading import chunks, read
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io import fingerprint
from coreselect.selectors import RCS

N = 40
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)  # [N, H, W, C]
X = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2) / 255).float()  # [N, C, H, W]
HELD = TensorDataset(torch.rand(9, 3, 6, 5), torch.arange(9) % 3)


class Items(Dataset[Any]):
    """A dataset of what a function makes of each position."""

    def __init__(self, item: Callable[[int], Any], n: int = N) -> None:
        self.item, self.n = item, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(90, 3))


@dataclasses.dataclass
class Record:
    x: torch.Tensor
    y: int


Pair = collections.namedtuple("Pair", "image label")


def forms() -> dict[str, Callable[[int], Any]]:
    """One dataset of images in the forms that people have."""
    image = pytest.importorskip("PIL.Image")
    return {
        "Pillow": lambda i: (image.fromarray(PIXELS[i]), i % 3),
        "Pillow with alpha": lambda i: (image.fromarray(PIXELS[i]).convert("RGBA"), i % 3),
        "Pillow in a dict": lambda i: {"image": image.fromarray(PIXELS[i]), "label": i % 3},
        "array": lambda i: (PIXELS[i], i % 3),
        "array in a list": lambda i: [PIXELS[i], np.int64(i % 3)],
        "named tuple": lambda i: Pair(PIXELS[i], i % 3),
    }


@pytest.mark.parametrize(
    "form", ["Pillow", "Pillow with alpha", "Pillow in a dict", "array", "array in a list", "named tuple"]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_one_size_are_converted(form: str, workers: int) -> None:
    """Pillow images and uint8 arrays [H, W, C] select as float tensors [C, H, W] in [0, 1] do."""
    expected = select(Task.from_model(net(), TensorDataset(X, torch.arange(N) % 3), HELD), RCS(), 8)
    task = Task.from_model(net(), Items(forms()[form]), HELD, num_workers=workers)
    assert select(task, RCS(), 8).indices.tolist() == expected.indices.tolist()


@settings(max_examples=60, deadline=None)
@given(h=st.integers(1, 9), w=st.integers(1, 9), c=st.sampled_from([0, 1, 3, 4]), n=st.integers(1, 5))
def test_any_uint8_image_is_its_values_over_255(h: int, w: int, c: int, n: int) -> None:
    """[H, W] and [H, W, C] become float32 [C, H, W], exactly the pixels over 255; labels are left alone."""
    shape = (n, h, w, c) if c else (n, h, w)
    pixels = np.random.default_rng(h).integers(0, 256, shape, dtype=np.uint8)
    data = Items(lambda i: (pixels[i], i), n)
    ((_, x, y),) = read(data, chunks(np.arange(n), n), seed=0, path=("pool",))
    whole = pixels if c else pixels[..., None]
    assert torch.equal(x, torch.from_numpy(whole.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)))
    assert y is not None
    assert y.tolist() == list(range(n))


def test_an_own_unpack_gets_arrays_as_they_are() -> None:
    """Whoever reads batches with unpack= converts arrays there: they come as uint8 [B, H, W, C]."""

    seen = []

    def unpack(batch: Any) -> Any:
        seen.append((batch[0].dtype, tuple(batch[0].shape[1:])))
        return batch[0].permute(0, 3, 1, 2) / 255, batch[1]

    task = Task.from_model(net(), Items(lambda i: (PIXELS[i], i % 3)), unpack=unpack)
    select(task, get_selector("k_center"), 5)
    assert set(seen) == {(torch.uint8, (6, 5, 3))}


BAD: dict[str, tuple[Callable[[int], Any], str]] = {
    "no label": (lambda i: (X[i], None), r"pool item 0 is None at \[1\]"),
    "one item is None": (lambda i: None if i == 39 else (X[i], 0), "pool item 39 is None"),
    "a dataclass": (lambda i: Record(X[i], 0), "pool item 0 is a Record, which cannot"),
    "an object in a dict": (lambda i: {"x": X[i], "meta": {"who": object()}}, r"is a object at \['meta'\]\['who'\]"),
    "texts as arrays": (lambda i: (X[i], np.array(["a"])), r"an array <U1 \[1\] at \[1\]"),
    "ragged": (
        lambda i: (X[i, :, : 6 - i % 2], 0),
        r"shape \[3, 5, 5\] at \[0\] and item 0 has .*\[3, 6, 5\].*one size",
    ),
    "ragged boxes": (lambda i: (X[i], 0, torch.zeros(1 + i % 2, 4)), r"\[2, 4\] at \[2\] and item 0"),
    "another form": (lambda i: X[i] if i == 13 else (X[i], 0), "pool item 13 has a tensor.*one form"),
    "other keys": (lambda i: {"x": X[i], **({"y": 0} if i else {})}, "pool item 13 has"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_items_that_make_no_batch_are_named_by_position(kind: str) -> None:
    """When the task is made: a `DataError` with the position, the part and the way out, chained to torch's own error."""
    item, said = BAD[kind]
    with pytest.raises(DataError, match=said) as refusal:
        Task.from_model(net(), Items(item), HELD)
    assert refusal.value.__cause__ is not None
    assert "\n" not in str(refusal.value)


class Stream(IterableDataset[Any]):
    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[Any]:
        return iter([(X[0], 0)] * N)


class Bag:
    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[Any]:
        return iter(X)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Stream(), "is a Stream, an iterable dataset; a map-style dataset is needed"),
        (Bag(), "is a Bag, without items by position"),
        (DataLoader(TensorDataset(X)), r"is a DataLoader, without items by position.*give its \.dataset"),
    ],
)
def test_streams_are_refused_even_with_a_length(data: Any, said: str) -> None:
    """By the task for pool and validation, by the holdout and by the fingerprint."""
    for make in (
        lambda: Task.from_model(net(), data),
        lambda: Task.from_model(net(), TensorDataset(X), data),
        lambda: holdout(data, 1),
        lambda: fingerprint(data),
    ):
        with pytest.raises(DataError, match=said):
            make()


def fails_at(bad: int, how: Callable[[], Any]) -> Dataset[Any]:
    """Images of which one runs `how` when a worker, or this process, reads it."""
    return Items(lambda i: how() if i == bad else (X[i], i % 3))


class Own(Exception):
    """An exception that does not survive a pickle."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def broken() -> Any:
    raise Own(1, 2)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("position", [0, 7, 39])
@pytest.mark.parametrize("how", [lambda: [][1], lambda: torch.load("/nowhere"), broken])
def test_an_item_that_raises_is_named(workers: int, position: int, how: Callable[[], Any]) -> None:
    """Position, kind and message are in one sentence, and the exception is the cause, also across processes."""
    with pytest.raises(DataError, match=f"pool item {position} cannot be read \\(") as refusal:
        select(Task.from_model(net(), fails_at(position, how), HELD, num_workers=workers), RCS(), 8)
    cause = refusal.value.__cause__
    assert isinstance(cause, IndexError | FileNotFoundError | Own | RuntimeError)
    assert str(cause).split(":")[0] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def leave() -> Any:
    os._exit(3)


@pytest.mark.parametrize("position", [0, 11])
def test_a_worker_that_dies_is_named_by_the_item_it_read(position: int) -> None:
    """A worker that leaves in the middle of an item is a `DataError` with the position, chained to the loader's error."""
    with pytest.raises(DataError, match=f"a worker died while it read pool item {position} ") as refusal:
        select(Task.from_model(net(), fails_at(position, leave), HELD, num_workers=2), RCS(), 8)
    assert isinstance(refusal.value.__cause__, RuntimeError)


@pytest.mark.parametrize("position", [0, 11])
def test_an_item_that_never_comes_back_is_named_after_the_timeout(position: int) -> None:
    """timeout= bounds the wait for workers, when the task is made and later."""
    data = fails_at(position, lambda: time.sleep(100))
    with pytest.raises(DataError, match=f"pool item {position} did not come back within the timeout of 1 seconds"):
        select(Task.from_model(net(), data, HELD, num_workers=1, timeout=1), RCS(), 8)


def test_validation_is_read_by_workers_where_there_is_a_timeout() -> None:
    """So an item of validation that hangs is found too."""
    held = fails_at(5, lambda: time.sleep(100))
    task = Task.from_model(net(), TensorDataset(X, torch.arange(N) % 3), held, num_workers=1, timeout=1)
    with pytest.raises(DataError, match="validation item 5 did not come back"):
        select(task, RCS(), 8)


def test_a_timeout_needs_workers() -> None:
    """Without workers nothing can be waited for: refused when the task is made."""
    for timeout, workers in ((3, 0), (-1, 2)):
        with pytest.raises(RequirementError, match="only workers can be waited for"):
            Task.from_model(net(), TensorDataset(X), timeout=timeout, num_workers=workers)


def test_fingerprints_are_the_same_in_workers() -> None:
    """The digest is taken where an item is read, and does not depend on it."""
    pool = Items(lambda i: (X[i], i % 3, {"in a worker": 0 * (get_worker_info() is None)}))
    prints = {Task.from_model(net(), pool, num_workers=workers).fingerprint() for workers in (0, 2)}
    assert prints == {fingerprint(pool)}


def test_items_without_a_digest_still_need_ids() -> None:
    """An object that has no digest cannot be collated either; the fingerprint alone says so with its place."""
    with pytest.raises(CoreselectError, match=r"item 0\[1\] is a Record, which has no digest"):
        fingerprint(Items(lambda i: (X[i], Record(X[i], 0))))
