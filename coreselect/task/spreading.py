"""How the rows of a selection come to lie on the ranks of a group: each rank keeps those that it has made.

Rank r of W makes the r-th run of consecutive batches, or of consecutive groups where rows come from factors. A block of rows
(`DenseRows.blocks`) that lies across the end of a run goes to the rank that has its first row, so that blocks are whole; this is
all that is sent of the rows before the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.gradients import store
from coreselect.gradients.parts import Batches, Record
from coreselect.gradients.rows import DenseRows, Groups, rows_of_a_block
from coreselect.gradients.spread import SpreadRows
from coreselect.gradients.store import allocate
from coreselect.support import collectives, ranks
from coreselect.support.meeting import Meeting


def to_be_spread(work: ranks.Work | None, spread: bool | None, size: int, device: torch.device) -> bool:
    """Say whether rows are to stay with the ranks that make them.

    Args:
        work: of the ranks that share the selection, or None.
        spread: True and False as they are; None: where a rank could not keep all of them in memory.
        size: of all rows, in bytes.
        device: of the rows.
    """
    if work is None or ranks.world_size() == 1 or spread is False:
        return False
    return spread is True or any(work.say("the memory for rows", size > store.in_memory(device)))


def runs(count: int) -> list[int]:
    """Cut `count` things into runs, one for each rank; return the W + 1 ends."""
    world = ranks.world_size()
    return [count * r // world for r in range(world + 1)]


def ends_of(batches: Batches) -> list[int]:
    """Return the W + 1 numbers of groups at which the runs of batches end."""
    groups = np.concatenate([[0], np.cumsum([len(batch) for batch in batches])])
    return [int(groups[at]) for at in runs(len(batches))]


def spread_rows(
    work: ranks.Work,
    rows: Iterator[Tensor],
    made: Sequence[int],
    width: int,
    like: Tensor,
    groups: Groups,
    **more: Any,
) -> SpreadRows:
    """Keep this rank's rows, and return those of all ranks.

    Args:
        rows: of this rank's run, [b, width], a few at a time and in order.
        made: W + 1 ends of the runs, in groups.
        like: a tensor with the dtype and the device of the rows.
        groups: of all rows.
        more: for `SpreadRows` (full, project, examples), and `names` for `DenseRows`.
    Raises:
        ScheduleError: another rank has failed.
        NonFiniteError: a row of this rank holds NaN or infinity.
    """
    me, count = ranks.rank(), len(groups)
    names = more.pop("names", None)
    step = rows_of_a_block(width * like.element_size())
    starts = [min(count, -(-at // step) * step) for at in made]  # the first whole block of each run
    first, last = made[me], made[me + 1]
    matrix = allocate(starts[me + 1] - starts[me], width, like=like)
    ahead = like.new_empty(min(starts[me], last) - first, width)  # of a block that begins in an earlier run
    at = first
    for some in rows:
        for part, origin in ((ahead, first), (matrix, starts[me])):
            a, b = max(at, origin), min(at + len(some), origin + len(part))
            if a < b:
                part[a - origin : b - origin] = some[a - at : b - at]
        at += len(some)
        if work.hears_failure():
            break
    work.say("the rows of all ranks")
    _pass_on(work, ahead, matrix, made, starts)
    local = DenseRows(matrix, groups[starts[me] : starts[me + 1]], names=names)
    work.say("the blocks of rows")
    return SpreadRows(Meeting(work, like.device), local, starts, groups, **more)


def _pass_on(work: ranks.Work, ahead: Tensor, matrix: Tensor, made: Sequence[int], starts: Sequence[int]) -> None:
    """Give the first rows of each run to the rank whose block they belong to."""
    me, carrier = ranks.rank(), collectives.carrier(ahead.device)
    for r in range(ranks.world_size()):
        count = min(starts[r], made[r + 1]) - made[r]
        if not count:
            continue
        sent = (ahead if r == me else ahead.new_empty(count, ahead.shape[1])).to(carrier).contiguous()
        try:
            dist.broadcast(sent, src=r)
        except RuntimeError as why:
            raise collectives.lost(why, work.purpose) from why
        if starts[me] <= made[r] < starts[me + 1]:
            at = made[r] - starts[me]
            matrix[at : at + count] = sent.to(matrix.device)


def lengths(ends: Sequence[int]) -> list[int]:
    """Return how many things each run has."""
    return [b - a for a, b in pairwise(ends)]


def tensors(records: Iterator[Record], losses: list[Tensor]) -> Iterator[Tensor]:
    """Yield the rows of records, and add their losses [b] to a list."""
    for record in records:
        losses.append(record["losses"])
        yield record["rows"]
