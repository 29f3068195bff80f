"""Records of sweeps in memory, so that several selectors share the sweeps over one pool."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from coreselect.gradients.described import described, plain
from coreselect.gradients.parts import Batches, Key, Make, Parts, Record
from coreselect.io import strict_json


class SharedRows:
    """A `coreselect.gradients.row_store.RowStore` in memory: the same object is given to each selection."""

    def __init__(self) -> None:
        self._run: Mapping[str, Any] | None = None
        self._kept: dict[str, list[Record]] = {}

    @contextmanager
    def opened(self, run: Mapping[str, Any], device: torch.device) -> Iterator[Parts]:
        """Open for one selection; what was kept of another run is dropped."""
        if plain(run) != self._run:
            self._run, self._kept = plain(run), {}

        def parts(key: Key, batches: Batches, make: Make) -> Iterator[Record]:
            name = strict_json.canonical(described(key, batches))
            if name not in self._kept:
                kept = []
                for record in make(batches):
                    kept.append(record)
                    yield record
                self._kept[name] = kept
            else:
                yield from self._kept[name]

        yield parts
