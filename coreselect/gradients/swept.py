"""Rows of any captured parameters, made batch by batch as the sweep over the pool goes, so that no more than the rows is kept."""

from collections.abc import Iterable

import torch
from torch import Tensor

from coreselect.gradients.batch import group_row
from coreselect.gradients.example import example_rows
from coreselect.gradients.rows import BLOCK_BYTES
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.gradients.sweep import Crafted
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss
from coreselect.support.clock import Clock


def swept_rows(
    net: Network,
    layout: Layout,
    loss: Loss,
    crafted: Iterable[Crafted],
    count: int,
    sketch: Sketch | None,
    single: bool,
    clock: Clock,
) -> tuple[Tensor, Tensor]:
    """Return (rows [M, P], or [M, W] sketched as they are produced, and the groups' losses [M]).

    Args:
        crafted: batches of whole groups, in group order.
        count: M.
        single: groups are single examples, whose rows are made many at once by `vmap`.
    """
    like = layout.flatten(net.captured)[:1]
    matrix = allocate(count, sketch.width if sketch else layout.size, like=like)
    losses = torch.empty(count, dtype=like.dtype)
    at = 0
    for batch in crafted:
        with clock("rows"):
            for piece in _pieces(batch, layout.size * like.element_size()) if single else batch.groups:
                prepared = {stream: z[piece] for stream, z in batch.prepared.items()}
                labels = None if batch.labels is None else batch.labels[piece]
                rows, values = (example_rows if single else group_row)(net, layout, loss, prepared, labels)
                rows, values = rows.detach().view(-1, layout.size), values.detach().view(-1)  # [1 or B, P], [1 or B]
                matrix[at : at + len(rows)] = sketch(rows) if sketch else rows
                losses[at : at + len(rows)] = values
                at += len(rows)
    return matrix, losses


def _pieces(batch: Crafted, row_bytes: int) -> list[slice]:
    """Cut a batch so that its per-example rows stay within a block."""
    most = max(1, BLOCK_BYTES // row_bytes)
    return [slice(s, s + most) for s in range(0, len(batch.positions), most)]
