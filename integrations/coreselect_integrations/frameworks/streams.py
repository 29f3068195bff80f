"""Streams: keep the samples of an iterable dataset whose keys were chosen (WebDataset, torchdata, any iterable).

    chosen = ChosenKeys.of(selection, keys)                       # keys of the pool, in its order
    wds.WebDataset("train-{0..9}.tar").select(chosen)             # WebDataset
    Chosen(stream, chosen)                                        # any IterableDataset

A stream has no positions, so it cannot be a pool. Choose from arrays or from a map-style copy of the data, with one key for each
sample, and filter the stream by these keys.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from torch.utils.data import IterableDataset

from coreselect import Selection
from coreselect.errors import DataError, first_few


class ChosenKeys:
    """A predicate of samples: whether the key of one was chosen. It is small, and can be sent to workers.

    Args:
        keys: the chosen keys, each once.
        name: under which a sample, a mapping, carries its key; WebDataset's is "__key__".
    Raises:
        DataError: no key was given, or one twice.
    """

    def __init__(self, keys: Iterable[str], name: str = "__key__") -> None:
        times = Counter(keys)
        self.keys, self.name = frozenset(times), name
        twice = [key for key, count in times.items() if count > 1]
        if not times:
            raise DataError("no key was chosen: give the keys of the chosen samples.")
        if twice:
            raise DataError(
                f"chosen keys must be different, got {first_few(twice)} more than once: give one key for each sample."
            )

    @classmethod
    def of(cls, selection: Selection, keys: Sequence[str], name: str = "__key__") -> Self:
        """Make it from a selection and the keys of the whole pool, in the pool's order.

        Raises:
            DataError: there are not as many keys as examples in the pool, or two are equal.
        """
        n = selection.provenance.pool_size
        if len(keys) != n or len(set(keys)) != n:
            raise DataError(
                f"the selection's pool has {n} examples, and {len(keys)} keys were given, {len(set(keys))} of them different: "
                "give the key of each example, in the pool's order."
            )
        chosen: list[str] = [keys[int(i)] for i in selection.indices.tolist()]
        return cls(chosen, name)

    def __call__(self, sample: Any) -> bool:
        """Return whether a sample was chosen.

        Raises:
            DataError: it has no key.
        """
        try:
            key = sample[self.name]
        except (KeyError, TypeError, IndexError) as why:
            raise DataError(
                f"a sample of the stream has no key {self.name!r} ({type(sample).__name__}): filter before decoding to tuples, or "
                "give name=."
            ) from why
        return key in self.keys


class Chosen(IterableDataset[Any]):
    """The chosen samples of an iterable, in its order.

    Args:
        stream: samples that are mappings with a key.
        chosen: which to keep.
    """

    def __init__(self, stream: Iterable[Any], chosen: ChosenKeys) -> None:
        self.stream, self.chosen = stream, chosen

    def __iter__(self) -> Iterator[Any]:
        return (sample for sample in self.stream if self.chosen(sample))
