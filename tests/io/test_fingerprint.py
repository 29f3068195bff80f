"""Claims about fingerprints: they change if and only if the data change."""

import hashlib
import random
import re
import struct
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from coreselect.errors import DataError, ShapeError
from coreselect.io import fingerprint


class Listed(Dataset[Any]):
    """Items from a list, with a record of which were read."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.read = items, []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.items[index]


class Noisy(Listed):
    """Items with noise from all three global generators, as random augmentation adds it."""

    def __getitem__(self, index: int) -> Any:
        return self.items[index] + torch.rand(1) + random.random() + float(np.random.rand())


def test_equal_data_are_equal_and_the_form_is_stated() -> None:
    """Two datasets with equal items have one fingerprint, `n:<length>-<32 hexadecimal digits>`."""
    a = fingerprint(Listed([(torch.ones(2), 1), (torch.zeros(2), 0)]))
    assert a == fingerprint(Listed([(torch.ones(2), 1), (torch.zeros(2), 0)]))
    assert re.fullmatch("n:2-[0-9a-f]{32}", a)


@pytest.mark.parametrize(
    "other",
    [
        [torch.ones(2), torch.zeros(2)],
        [torch.zeros(2), torch.ones(2), torch.ones(2)],
        [torch.zeros(2), torch.ones(2).double()],
        [torch.zeros(2), torch.ones(1, 2)],
        [torch.zeros(2), torch.ones(2).numpy()],
        [torch.zeros(2), (torch.ones(2),)],
        [torch.zeros(2), [torch.ones(2)]],
        [torch.zeros(2), torch.tensor([1.0, torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))])],
    ],
)
def test_any_change_of_a_sampled_item_shows(other: list[Any]) -> None:
    """Order, length, dtype, shape, container and the last bit all change the fingerprint."""
    assert fingerprint(Listed(other)) != fingerprint(Listed([torch.zeros(2), torch.ones(2)]))


def test_values_of_different_types_differ() -> None:
    """A value is hashed with its type, so none of these similar values share a fingerprint."""
    image = pytest.importorskip("PIL.Image", reason="Pillow images need coreselect[data]")
    values = [
        1, 1.0, True, "1", b"1", None, 1j, "", b"", (1,), [1], ((1,),), {"1": 1}, {1: 1}, (), [], {}, (1, 2), ((1, 2),),
        (12,), ["ab", "c"], ["a", "bc"], np.int64(1), np.float64(1), np.array([1]), np.array(["1"]),
        np.array([1], object), torch.tensor(1), torch.tensor([1]),
        torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([True]),
        image.new("L", (1, 1), 1), image.new("RGB", (1, 1), (1, 1, 1)), image.new("P", (1, 1), 1),
    ]  # fmt: skip
    digests = [fingerprint(Listed([value])) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [fingerprint(Listed([value])) for value in values]


def test_the_order_of_keys_does_not_matter() -> None:
    """Two equal dicts have one fingerprint, for any order of their keys."""
    assert fingerprint(Listed([{"x": 1, "y": 2}])) == fingerprint(Listed([{"y": 2, "x": 1}]))


@pytest.mark.parametrize(
    ("n", "samples", "read"), [(5, 256, 5), (256, 256, 256), (257, 256, 256), (10_001, 256, 256), (9, 1, 1)]
)
def test_the_sample_is_evenly_spaced_with_both_ends(n: int, samples: int, read: int) -> None:
    """At most `samples` items are read, in order and with both ends, and the gaps differ by at most one."""
    data = Listed(list(range(n)))
    fingerprint(data, samples=samples)
    assert len(data.read) == len(set(data.read)) == read
    assert data.read == sorted(data.read)
    assert data.read[0] == 0
    if samples > 1:
        assert data.read[-1] == n - 1
        assert np.ptp(np.diff(data.read)) <= 1


def test_an_augmenting_dataset_has_one_fingerprint_and_no_generator_changes() -> None:
    """Random items are read with their own seeds, and the states of Python, numpy and torch are the same afterwards."""
    data = Noisy([torch.zeros(3) for _ in range(4)])
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # legacy tuple
    first = fingerprint(data)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # legacy tuple
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(7)
    assert fingerprint(data) == first


def test_a_failing_item_leaves_the_generators() -> None:
    """If an item cannot be hashed, no generator has changed."""
    state = torch.get_rng_state()
    with pytest.raises(DataError, match=r"item 1\[0\] is a object.*give ids"):
        fingerprint(Listed([1, (object(),)]))
    assert torch.equal(torch.get_rng_state(), state)


def test_ids_stand_for_items() -> None:
    """With ids no item is read, every id and the order count, and an array of ids equals a list."""
    data = Listed([object()] * 1000)
    ids = [f"image_{i}" for i in range(1000)]
    first = fingerprint(data, ids=ids)
    assert data.read == []
    assert first.startswith("n:1000-")
    assert first == fingerprint(data, ids=np.array(ids))  # type: ignore[arg-type]  # an array serves as a sequence
    for changed in ([*ids[:500], "other", *ids[501:]], ids[::-1]):
        assert fingerprint(data, ids=changed) != first
    assert fingerprint(data, ids=range(1000)) == fingerprint(data, ids=torch.arange(1000))  # type: ignore[arg-type]


def test_the_digest_is_what_it_says() -> None:
    """The digest is fixed for later releases: BLAKE2b over position and item, each as type and content after their lengths
    (8 bytes, little-endian)."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack("<Q", len(kind)) + kind + struct.pack("<Q", len(content)) + content

    items = [b"\x01\x02", b"\xff"]
    by_hand = b"".join(part(b"int", b"%d" % i) + part(b"bytes", item) for i, item in enumerate(items))
    assert fingerprint(Listed(items)) == f"n:2-{hashlib.blake2b(by_hand, digest_size=16).hexdigest()}"


def test_refusals_say_what_is_needed() -> None:
    """No length, no items, too few ids and no samples are each refused in one sentence."""
    with pytest.raises(DataError, match="map-style"):
        fingerprint(iter([1, 2]))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="empty"):
        fingerprint(Listed([]))
    with pytest.raises(ShapeError, match="2 items and 1 ids"):
        fingerprint(Listed([1, 2]), ids=["a"])
    with pytest.raises(ShapeError, match="at least 1"):
        fingerprint(Listed([1, 2]), samples=0)
