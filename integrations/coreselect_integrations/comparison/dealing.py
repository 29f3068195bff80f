"""Whole cells dealt out to the processes of a launcher: each takes the next free cell, and waits for those that it builds on.

A cell starts from the warm model of its seed, and at equal time it needs the seconds of all methods at equal epochs. In the order
in which cells are taken those come first, so no two processes wait for each other. The processes talk through the launcher's
store, and all of them see the same folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from coreselect.errors import ScheduleError
from coreselect.support.alive import has_ended, identity
from coreselect.support.ranks import LINGER, LOOK
from coreselect_integrations.comparison.plan import Cell
from coreselect_integrations.comparison.statistics import WARM

PAUSE = 0.05  # seconds between two questions whether a cell is finished


class Dealing:
    """One of the processes that share the cells of a comparison.

    Args:
        store: of all processes.
        rank, world: which process this is, of how many; process 0 gets all records.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world
        self.begun = False  # before that, every process does and refuses the same
        self.number = 0  # how many cells had been taken, by any process, before the one at hand

    @classmethod
    def by_launcher(cls) -> Dealing:
        """Join the processes that a launcher has started."""
        store, rank, world = next(iter(rendezvous("env://")))
        return cls(PrefixStore("cells", store), rank, world)

    def cells(self, todo: Sequence[Cell]) -> Iterator[tuple[Cell, list[dict[str, Any]]]]:
        """Yield the cells that this process gets, each with the records of the cells that it builds on.

        Call `done` with the record of a cell before the next is taken.

        Raises:
            ScheduleError: another process has ended in a cell that this one waits for.
        """
        self.begun = True
        order = sorted(
            todo, key=lambda cell: (cell.equal != "epochs", cell.method != WARM)
        )  # keeps the order within a kind
        while (number := self.store.add("taken", 1) - 1) < len(order):
            cell, self.number = order[number], number
            self.store.set(f"owner of {cell.name}", f"{self.rank} {identity()}")
            yield cell, [self.record(other) for other in order if builds_on(cell, other)]
        self.store.add("left", 1)

    def done(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Give the record of a cell to all processes."""
        self.store.set(f"record of {cell.name}", json.dumps(record))

    def record(self, cell: Cell) -> dict[str, Any]:
        """Wait for a cell, and return its record."""
        key, owner, look = f"record of {cell.name}", f"owner of {cell.name}", time.monotonic()
        while not self.store.check([key]):
            time.sleep(PAUSE)
            if time.monotonic() < look or not self.store.check([owner]):
                continue
            look = time.monotonic() + LOOK
            rank, _, process = self.store.get(owner).decode().partition(" ")
            if has_ended(process) and not self.store.check([key]):
                raise ScheduleError(
                    f"rank {rank} has ended in the cell {cell.name}: look at what it wrote, and start the same command again, "
                    "which keeps the finished cells."
                )
        return json.loads(self.store.get(key))

    def records(self, todo: Sequence[Cell]) -> list[dict[str, Any]]:
        """Return the records of all cells in process 0, which waits for them; nothing in the others."""
        if self.rank:
            return []
        found = [self.record(cell) for cell in todo]
        until = time.monotonic() + LINGER  # the store may end with this process: the others ask it once more
        while self.store.add("left", 0) < self.world and time.monotonic() < until:
            time.sleep(PAUSE)
        return found


def builds_on(cell: Cell, other: Cell) -> bool:
    """Return whether a cell needs the record of another: that of its warm model, or at equal time those at equal epochs."""
    if cell.seed != other.seed or other.equal != "epochs" or cell == other:
        return False
    return other.method == WARM or (cell.equal == "time" and cell.fraction == other.fraction)
