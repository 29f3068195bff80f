"""From items to one batch: images are converted to tensors, and what cannot be put into a batch is named by position."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from coreselect.data.decoding import as_tensor, from_bytes

IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input", "inputs")
_WAY_OUT = "let the dataset return tensors, arrays, numbers, or tuples and dicts of these"


@dataclass(frozen=True)
class Failure:
    """What went wrong with the item at a position: a sentence without its end, and the exception, if there was one."""

    position: int
    said: str
    cause: BaseException | None


@dataclass(frozen=True)
class Collate:
    """Put (position, item) pairs into one batch, as `torch.utils.data.default_collate` does, or return a `Failure`.

    The input of an item is the item itself, the first of a tuple, or the entry of a mapping with a usual name. An input that
    is a Pillow image becomes float32 [C, H, W] in [0, 1]. With `arrays`, an input that is a uint8 array [H, W] or
    [H, W, C], C in 1…4, becomes the same.
    """

    arrays: bool = True

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> Any:
        items = []
        for position, item in pairs:
            if isinstance(item, Failure):
                return item
            try:
                items.append(_converted(item, self.arrays, f"item {position}"))
            except Exception as why:
                return Failure(position, f"cannot be converted to a tensor ({_short(why)})", why)
        try:
            _refuse_other_keys(items)
            return default_collate(items)
        except Exception as why:
            place, said = _odd_one(items, [position for position, _ in pairs])
            return Failure(place, said or f"cannot be put into a batch ({_short(why)}): {_WAY_OUT}", why)


def _converted(item: Any, arrays: bool, name: str) -> Any:
    """Return the item with its input as a tensor, where it is an image."""
    if isinstance(item, Mapping):
        key = next((k for k in IMAGE_KEYS if k in item), None)
        if key is None:
            return item
        made = _image(item[key], arrays, name)
        return item if made is item[key] else {**item, key: made}
    if isinstance(item, tuple | list) and item:
        made = _image(item[0], arrays, name)
        if made is item[0]:
            return item
        rest = (made, *item[1:])
        return type(item)(*rest) if hasattr(item, "_fields") else type(item)(rest)
    return _image(item, arrays, name)


def _image(value: Any, arrays: bool, name: str) -> Any:
    pillow = sys.modules.get("PIL.Image")  # an item can only be a Pillow image if Pillow is imported
    if pillow is not None and isinstance(value, pillow.Image):
        return as_tensor(value, name)
    flat = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.size
    if arrays and flat and (value.ndim == 2 or (value.ndim == 3 and 1 <= value.shape[2] <= 4)):
        return from_bytes(value)
    return value


def _refuse_other_keys(items: Sequence[Any]) -> None:
    """Refuse mappings with other keys than the first: `default_collate` would leave out what the first lacks."""
    first = items[0]
    if isinstance(first, Mapping) and any(not isinstance(i, Mapping) or i.keys() != first.keys() for i in items):
        raise ValueError("the items are mappings with different keys")


def _odd_one(items: Sequence[Any], positions: Sequence[int]) -> tuple[int, str]:
    """Find the first item that has no place in a batch, or another form than the first; say what is odd about it."""
    first = None
    for position, item in zip(positions, items, strict=True):
        parts = _parts(item, "")
        for where, kind in parts.items():
            if kind.startswith("!"):
                at = f" at {where}" if where else ""
                way = "leave the part out where it is unknown" if kind == "!None" else _WAY_OUT
                return position, f"is {kind[1:]}{at}, which cannot be put into a batch: {way}"
        if first is None:
            first = parts
        if parts != first:
            where = next(w for w in [*parts, *first] if parts.get(w) != first.get(w))
            mine, others = parts.get(where, "nothing"), first.get(where, "nothing")
            at = f" at {where}" if where else ""
            way = "give all items one form" if mine[:2] != others[:2] or "parts" in mine else "give all items one size"
            return position, f"has {mine}{at} and item {positions[0]} has {others}: {way}, in the dataset"
    return positions[0], ""


def _parts(value: Any, where: str) -> dict[str, str]:
    """Return what an item holds, by place; what no batch can hold begins with an exclamation mark."""
    if isinstance(value, Tensor):
        return {where: f"a tensor of the shape {list(value.shape)}"}
    if isinstance(value, np.ndarray):
        wrong = "!" if value.dtype.kind not in "biufc" else ""
        return {
            where: f"{wrong}an array {value.dtype} {list(value.shape)}" if wrong else f"an array {list(value.shape)}"
        }
    if isinstance(value, bool | int | float | np.generic):
        return {where: "a number"}
    if isinstance(value, str | bytes):
        return {where: "a text"}
    if isinstance(value, Mapping):
        inner = [(f"[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, Sequence):
        inner = [(f"[{i}]", part) for i, part in enumerate(value)]
    else:
        return {where: "!None" if value is None else f"!a {type(value).__name__}"}
    out = {where: f"{len(inner)} parts"}
    for name, part in inner:
        out |= _parts(part, f"{where}{name}")
    return out


def _short(why: BaseException) -> str:
    said = " ".join(str(why).split())[:200].rstrip(".")
    return f"{type(why).__name__}: {said}" if said else type(why).__name__
