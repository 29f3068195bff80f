"""The first look at a dataset, when a task is made: a few of its items are read twice, and compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coreselect.data.collate import Collate, Failure
from coreselect.data.images import labels_of
from coreselect.data.items import loaded
from coreselect.data.labels import label_of_item
from coreselect.data.reading import EvaluationView, Unpack
from coreselect.data.reading import unpack as default_unpack
from coreselect.data.subsets import refuse_positions
from coreselect.errors import CoreselectWarning, DataError, ShapeError, first_few
from coreselect.io.fingerprint import item_bytes
from coreselect.protocols import Loss, MakeViews
from coreselect.support.bounds import Range, known_range
from coreselect.support.interruptions import interruptible
from coreselect.support.seeding import rng_kept, seed_everything
from coreselect.support.structure import leaves, mapped, taken
from coreselect.task.datasets import length_of
from coreselect.task.targets import Targets, kind_of

LOOKED_AT = 4  # how many items are read twice: the first, the last, and some between


class DifferentLabelsWarning(CoreselectWarning):
    """A dataset lists other labels than its items carry."""


class HiddenRandomnessWarning(CoreselectWarning):
    """A dataset draws from a generator that is not seeded for each item."""


@dataclass(frozen=True)
class FirstLook:
    """What the first items show: their targets, whether these are the labels that the dataset lists, and the range.

    `targets` is what the first item carries beside its input, None if that is nothing. `range` is the smallest and the largest
    value of the inputs, and `view_range` that of their views; None for integers, for values that are not finite, and without views.
    """

    targets: Targets | None
    labels_agree: bool
    range: Range | None
    view_range: Range | None


@dataclass(frozen=True)
class _Look:
    """Pairs → the batch, the bytes of each item (None for those without), the class number of each item."""

    collate: Collate

    def __call__(self, pairs: Sequence[tuple[int, Any]]) -> Any:
        batch = self.collate(pairs)
        if isinstance(batch, Failure):
            return batch
        return batch, [_bytes(item) for _, item in pairs], [label_of_item(item) for _, item in pairs]


def first_look(
    dataset: Any,
    unpack: Unpack,
    *,
    loss: Loss,
    what: str,
    has_ids: bool,
    views: MakeViews | None = None,
    num_workers: int = 0,
    timeout: float = 0,
) -> FirstLook:
    """Read a few items twice with the same seeds.

    Args:
        dataset: N ≥ 1 items.
        unpack: batch of items → (x, labels or None).
        loss: decides what counts as class numbers.
        what: "pool" or "validation".
        views: what makes the views that an attack acts on; None: the inputs are the views.
        has_ids: whether the user gave `ids=`, which identify the pool without its items.
        num_workers: with any, one worker reads the items, so that an item that kills a process does not kill this one.
        timeout: of that worker, in seconds; 0 waits for ever.
    Raises:
        DataError: the dataset is a stream, holds a position twice, or has items that cannot be read or put into a batch; or two
            reads of an item differ and there are no ids.
    Warns:
        DifferentLabelsWarning: the dataset lists other labels than its items carry.
        HiddenRandomnessWarning: two reads of an item differ, and there are ids.
    """
    n = length_of(dataset, what)
    refuse_positions(dataset, what)
    places = np.unique(np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(np.int64))
    usual = unpack is default_unpack
    with interruptible(), rng_kept():
        (batch, one, labels), (_, two, _) = loaded(
            EvaluationView(dataset, 0, "labels"),
            [places, places],
            _Look(Collate(arrays=usual)),
            what=what,
            num_workers=min(num_workers, 1),
            timeout=timeout,
        )
    random = [int(i) for i, a, b in zip(places, one, two, strict=True) if a != b]
    if random:
        said = (
            f"{what} item {random[0]} has other values when it is read again with the same seed: the dataset draws from a "
            "generator of its own"
        )
        if not has_ids:
            raise DataError(
                f"{said}, so a selection could be neither repeated nor resumed: draw from random, numpy or torch's global "
                "generators (they are seeded for every item), seed the generator from the item's index, or give ids= to "
                "Task.from_model to accept it."
            )
        warnings.warn(
            f"{said}: the selection depends on the order in which items are read, and on num_workers.",
            HiddenRandomnessWarning,
            stacklevel=3,
        )
    x, y = unpack(batch)
    agree = not usual or y is None or compare_labels(dataset, dict(zip(places.tolist(), labels, strict=True)), what)
    first = mapped(lambda t: t[:1] if t.dim() else t, y)  # the target of one item, as a batch of one
    return FirstLook(kind_of(first, loss), agree, known_range(x), views and _range_of_views(views, x))


def _range_of_views(views: MakeViews, x: Any) -> Range | None:
    """Return the range of the views of inputs [b, …]; None where it is not known, or the views fail, as the sweep will say.

    Raises:
        ShapeError: the views are no tuple.
    """
    ranges: list[Range | None] = []
    with rng_kept():
        for i in range(len(leaves(x)[0])):
            seed_everything(i)  # a view function may also draw from a global state
            try:
                made: Any = views(taken(x, slice(i, i + 1)), torch.Generator().manual_seed(i))
            except Exception:  # code of the user, which may raise anything
                return None
            if not isinstance(made, tuple | list):
                raise ShapeError(
                    f"views= returned a {type(made).__name__} for an input, and a tuple with every view of it is needed: write "
                    "return (view,) or return first, second."
                )
            try:
                ranges += [known_range(view) for view in made]
            except Exception:  # of views that are no tensors
                return None
    known = [r for r in ranges if r is not None]
    return (
        (min(low for low, _ in known), max(high for _, high in known)) if known and len(known) == len(ranges) else None
    )


def compare_labels(dataset: Any, seen: Mapping[int, int | None], what: str) -> bool:
    """Return whether the labels that a dataset lists are those that some of its items carry; warn if they are not.

    Args:
        seen: position → the class number of an item, or None.
    """
    listed = labels_of(dataset)
    if listed is None:
        return True
    other = [i for i, label in seen.items() if label is not None and label != listed[i]]
    if other:
        warnings.warn(
            f"the {what} lists other labels (as .labels or .targets) than {len(other)} of {len(seen)} items carry that "
            f"were looked at (positions {first_few(sorted(other))}): the items' labels count; correct the list or remove it.",
            DifferentLabelsWarning,
            stacklevel=4,
        )
    return not other


def _bytes(item: Any) -> bytes | None:
    try:
        return item_bytes(item)
    except DataError:
        return None
