"""A dataset's fingerprint: what ties an index file to the data it was made for."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.errors import DataError, ShapeError
from coreselect.support.seeding import rng_kept, seed_everything, seeds


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def fingerprint(dataset: Dataset[Any], *, ids: Sequence[int | str] | None = None, samples: int = 256) -> str:
    """Return `n:<length>-<digest>`: the dataset's length and a BLAKE2b digest of some of its items, or of its ids.

    The items are those at `samples` evenly spaced positions, the first and the last among them (all where there are
    fewer), each read with `random`, numpy and torch seeded from its position, so a randomly augmenting dataset has one
    fingerprint. Values count with their kind, dtype and shape: uint8 pixels differ from the same pixels as float32.

    What a sample cannot see: an item changed, or two items exchanged, outside the sampled positions. What the three
    seeds do not govern (a clock, a GPU) gives a new fingerprint each time. With `ids` no item is read: equal ids in
    equal order are equal data, whatever the items have become. So equal fingerprints mean "the same data as far as a
    sample can tell", different ones "not the same items, or not read the same way".

    Args:
        dataset: map-style: has a length and is indexed by 0…n−1.
        ids: n strings or integers that name the items, in order (file names, keys of a database).
        samples: how many items are read, at least 1; fingerprints made with another number do not compare.
    Raises:
        DataError: no length, no item, or an item that holds something without a digest; `ids` are the way out.
        ShapeError: as many ids as items are needed; `samples` is less than 1.
    """
    n = _length(dataset)
    state = hashlib.blake2b(digest_size=16)
    if ids is not None:
        named = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else list(ids)
        if len(named) != n:
            raise ShapeError(
                f"the dataset has {n} items and {len(named)} ids were given: give one id per item, in order."
            )
        _feed(state, ("ids", named), "ids")
    else:
        positions = _positions(n, samples)
        with rng_kept():
            for i, seed in zip(positions.tolist(), seeds(0, "fingerprint", indices=positions).tolist(), strict=True):
                seed_everything(seed)
                _feed(state, i, f"item {i}")
                _feed(state, dataset[i], f"item {i}")
    return f"n:{n}-{state.hexdigest()}"


def _length(dataset: Dataset[Any]) -> int:
    try:
        n = len(dataset)  # type: ignore[arg-type]  # torch's Dataset does not promise a length; map-style ones have it
    except TypeError as why:
        raise DataError(f"{type(dataset).__name__} has no length; a fingerprint needs a map-style dataset.") from why
    if n < 1:
        raise DataError("the dataset is empty; a fingerprint needs at least one item.")
    return n


def _positions(n: int, samples: int) -> NDArray[np.int64]:
    """Evenly spaced positions with both ends, in whole numbers; shape [min(n, samples)]."""
    if samples < 1:
        raise ShapeError(f"samples is {samples}; at least 1 item has to be read.")
    if n <= samples:
        return np.arange(n, dtype=np.int64)
    return np.arange(samples, dtype=np.int64) * (n - 1) // max(samples - 1, 1)


def _feed(state: _Digest, value: Any, where: str) -> None:
    """Digest one value; every part is preceded by its kind and length, so that no two values share a byte string."""
    image = sys.modules.get("PIL.Image")  # an item can be a Pillow image only if someone imported Pillow
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # bfloat16 has no numpy twin
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
        for key in sorted(value, key=repr):  # the order in which keys were added is no property of the data
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


def _put(state: _Digest, kind: str, content: bytes) -> None:
    head = kind.encode()
    state.update(len(head).to_bytes(8, "little") + head + len(content).to_bytes(8, "little"))
    state.update(content)
