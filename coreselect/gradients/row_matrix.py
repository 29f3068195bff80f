"""The matrix of rows of any captured parameters, filled batch by batch during the sweep over the pool."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from coreselect.gradients.batch import group_row
from coreselect.gradients.example import ExampleRows
from coreselect.gradients.rows import BLOCK_BYTES
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.gradients.sweep import PreparedBatch
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss
from coreselect.support.clock import Clock
from coreselect.support.structure import taken


def row_matrix(
    net: Network,
    layout: Layout,
    loss: Loss,
    batches: Iterable[PreparedBatch],
    count: int,
    sketch: Sketch | None,
    per_example: bool,
    clock: Clock,
    note: Callable[[str], None],
) -> tuple[Tensor, Tensor]:
    """Compute the rows [M, P] (or [M, W] with a sketch of width W) and the losses [M] of the groups.

    Rows are sketched as they are produced, so nothing larger than the result is kept.

    Args:
        batches: batches of whole groups, in the order of the groups.
        count: M.
        per_example: the groups are single examples; many of their rows are then computed at once by `vmap`.
        note: called with a sentence if they are computed one by one.
    """
    like = layout.flatten(net.captured)[:1]
    matrix = allocate(count, sketch.width if sketch else layout.size, like=like)
    losses = torch.empty(count, dtype=like.dtype, device=like.device)
    compute = ExampleRows(net, layout, loss, note) if per_example else partial(group_row, net, layout, loss)
    at = 0
    for batch in batches:
        with clock("rows"):
            for piece in _pieces(batch, layout.size * like.element_size()) if per_example else batch.groups:
                prepared = {stream: taken(z, piece) for stream, z in batch.prepared.items()}
                labels = taken(batch.labels, piece)
                rows, values = compute(prepared, labels)
                rows, values = rows.detach().view(-1, layout.size), values.detach().view(-1)  # [1 or B, P], [1 or B]
                matrix[at : at + len(rows)] = sketch(rows) if sketch else rows
                losses[at : at + len(rows)] = values
                at += len(rows)
    return matrix, losses


def _pieces(batch: PreparedBatch, row_bytes: int) -> list[slice]:
    """Cut a batch so that the rows of each piece take at most BLOCK_BYTES."""
    most = max(1, BLOCK_BYTES // row_bytes)
    return [slice(s, s + most) for s in range(0, len(batch.positions), most)]
