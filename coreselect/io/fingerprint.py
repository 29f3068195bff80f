"""The fingerprint of a dataset, by which an index file recognises the data that it was made for."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.data.collate import Failure
from coreselect.data.items import loaded, refuse_stream
from coreselect.data.labels import label_of_item
from coreselect.data.reading import EvaluationView
from coreselect.errors import DataError, ShapeError
from coreselect.support.seeding import rng_kept

AT_ONCE = 16  # items that are read as one batch


class _Bytes:
    """The bytes of a value, part by part."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def update(self, data: bytes) -> None:
        """Add some bytes."""
        self.parts.append(data)


@dataclass(frozen=True)
class Examined:
    """A fingerprint, and the class number of each item that was read for it; None for items without a whole number."""

    fingerprint: str
    labels: Mapping[int, int | None]


def fingerprint(dataset: Dataset[Any], *, ids: Sequence[int | str] | None = None, samples: int = 256) -> str:
    """Return `n:<length>-<digest>`: the length of the dataset and a BLAKE2b digest of some of its items, or of its ids.

    The function reads the items at `samples` evenly spaced positions, including the first and the last, or all items if
    there are fewer. Each is read with `random`, numpy and torch seeded from its position, so a dataset with random
    augmentation has one fingerprint. The type, dtype and shape of a value count: uint8 pixels differ from the same pixels
    as float32.

    A sample does not show a change of an item outside the sampled positions, or an exchange of two such items. Randomness
    that the three seeds do not control (a clock, a GPU) gives a new fingerprint each time. With `ids` no item is read:
    equal ids in equal order mean equal data, even if the items have changed. So equal fingerprints mean that the data are
    the same as far as the sample shows. Different fingerprints mean that the items, or the way they are read, differ.

    Args:
        dataset: map-style, with a length and indices 0…n−1.
        ids: n strings or integers that name the items, in order (file names, keys of a database).
        samples: how many items are read, ≥ 1; only fingerprints with the same number can be compared.
    Raises:
        DataError: the dataset has no length or no items, or an item holds something without a digest; then use `ids`.
        ShapeError: the number of ids is not the number of items, or `samples` is less than 1.
    """
    return examine(dataset, ids=ids, samples=samples).fingerprint


def examine(
    dataset: Dataset[Any],
    *,
    ids: Sequence[int | str] | None = None,
    samples: int = 256,
    what: str = "dataset",
    num_workers: int = 0,
    timeout: float = 0,
) -> Examined:
    """Return the fingerprint of a dataset, and the labels that were seen on the way.

    Args:
        dataset, ids, samples: as for `fingerprint`.
        what: the dataset's name in messages.
        num_workers, timeout: as for `coreselect.data.items.loaded`.
    Raises:
        DataError, ShapeError: as `fingerprint` says; also if an item cannot be read.
    """
    n = _length(dataset, what)
    state = hashlib.blake2b(digest_size=16)
    labels: dict[int, int | None] = {}
    if ids is not None:
        named = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else list(ids)
        if len(named) != n:
            raise ShapeError(
                f"the dataset has {n} items and {len(named)} ids were given: give one id per item, in order."
            )
        state.update(item_bytes(("ids", named), "ids"))
    else:
        positions = _positions(n, samples)
        view = EvaluationView(dataset, 0, "fingerprint")
        with rng_kept():
            batches = [positions[k : k + AT_ONCE] for k in range(0, len(positions), AT_ONCE)]
            for read in loaded(view, batches, _bytes_and_labels, what=what, num_workers=num_workers, timeout=timeout):
                for i, content, label in read:
                    state.update(item_bytes(i))
                    state.update(content)
                    labels[i] = label
    return Examined(f"n:{n}-{state.hexdigest()}", labels)


def item_bytes(item: Any, where: str = "") -> bytes:
    """Return bytes that stand for an item: different values, types, dtypes or shapes give different bytes.

    Raises:
        DataError: the item holds something for which there are no such bytes; `where` begins the message.
    """
    state = _Bytes()
    _feed(state, item, where)
    return b"".join(state.parts)


def _bytes_and_labels(pairs: Sequence[tuple[int, Any]]) -> Any:
    """Turn items into (position, bytes, class number); it runs in the process that reads them."""
    read: list[tuple[int, bytes, int | None]] = []
    for position, item in pairs:
        if isinstance(item, Failure):
            return item
        try:
            read.append((position, item_bytes(item), label_of_item(item)))
        except DataError as why:
            return Failure(position, str(why).strip().rstrip("."), None)
    return read


def _length(dataset: Dataset[Any], what: str) -> int:
    refuse_stream(dataset, what)
    try:
        n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length, though torch's Dataset declares none
    except TypeError as why:
        raise DataError(f"{type(dataset).__name__} has no length; a fingerprint needs a map-style dataset.") from why
    if n < 1:
        raise DataError("the dataset is empty; a fingerprint needs at least one item.")
    return n


def _positions(n: int, samples: int) -> NDArray[np.int64]:
    """Return evenly spaced positions, including both ends, int64 [min(n, samples)]."""
    if samples < 1:
        raise ShapeError(f"samples is {samples}; at least 1 item must be read.")
    if n <= samples:
        return np.arange(n, dtype=np.int64)
    return np.arange(samples, dtype=np.int64) * (n - 1) // max(samples - 1, 1)


def _feed(state: _Bytes, value: Any, where: str) -> None:
    """Add one value to the digest. Each part starts with its type and length, so that different values give different bytes."""
    image = sys.modules.get("PIL.Image")  # an item can only be a Pillow image if Pillow is imported
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # numpy has no bfloat16
        _put(state, f"tensor {value.dtype} {tuple(value.shape)}", plain.numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            _put(state, f"array object {array.shape}", b"")
            _feed(state, array.ravel().tolist(), where)
        else:
            _put(state, f"array {array.dtype.str} {array.shape}", np.ascontiguousarray(array).tobytes())
    elif image is not None and isinstance(value, image.Image):
        _put(state, f"image {value.mode} {value.size} {value.getpalette()}", value.tobytes())
    elif value is None or isinstance(value, bool | int | float | complex):
        _put(state, type(value).__name__, repr(value).encode())
    elif isinstance(value, str):
        _put(state, "str", value.encode(errors="surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        _put(state, "bytes", bytes(value))
    elif isinstance(value, Mapping):
        _put(state, f"mapping {len(value)}", b"")
        for key in sorted(value, key=repr):  # the order of the keys is not part of the data
            _feed(state, key, where)
            _feed(state, value[key], f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        _put(state, f"{'list' if isinstance(value, list) else 'tuple'} {len(value)}", b"")
        for j, part in enumerate(value):
            _feed(state, part, f"{where}[{j}]")
    else:
        raise DataError(
            f"{where} is a {type(value).__name__}, which has no digest: let the dataset return tensors, arrays, "
            "images, numbers, strings, or tuples, lists and dicts of these, or give ids."
        )


def _put(state: _Bytes, kind: str, content: bytes) -> None:
    head = kind.encode()
    state.update(len(head).to_bytes(8, "little") + head + len(content).to_bytes(8, "little"))
    state.update(content)
