"""The rows of any captured parameters, batch by batch during the sweep over the pool, and the matrix that they fill."""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from coreselect.gradients.batch import group_row
from coreselect.gradients.example import ExampleRows
from coreselect.gradients.loss_value import naming
from coreselect.gradients.parts import Record
from coreselect.gradients.rows import BLOCK_BYTES
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.gradients.sweep import PreparedBatch
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss
from coreselect.support.clock import Clock
from coreselect.support.structure import taken


def row_records(
    net: Network,
    layout: Layout,
    loss: Loss,
    batches: Iterable[PreparedBatch],
    sketch: Sketch | None,
    examples: ExampleRows | None,
    clock: Clock,
    where: str = "pool",
) -> Iterator[Record]:
    """Yield for each batch its groups' "rows" [b, P] (or [b, W] with a sketch of width W) and "losses" [b].

    Rows are sketched as they are produced, so nothing larger than the result is kept.

    Args:
        batches: batches of whole groups.
        examples: if the groups are single examples: computes many of their rows at once.
        where: the dataset that a message names.
    """
    for batch in batches:
        with clock("rows"):
            record = _record(net, layout, loss, batch, sketch, examples, where)
        yield record


def _record(
    net: Network,
    layout: Layout,
    loss: Loss,
    batch: PreparedBatch,
    sketch: Sketch | None,
    examples: ExampleRows | None,
    where: str,
) -> Record:
    like = layout.flatten(net.captured)[:1]
    compute = examples or partial(group_row, net, layout, loss)
    pieces = _pieces(batch, layout.size * like.element_size()) if examples else batch.groups
    matrix = like.new_empty(len(batch.groups), sketch.width if sketch else layout.size)  # [b, W]
    losses = like.new_empty(len(batch.groups))
    at = 0
    for piece in pieces:
        prepared = {stream: taken(z, piece) for stream, z in batch.prepared.items()}
        with naming(batch.positions[piece], where):
            rows, values = compute(prepared, taken(batch.labels, piece))
        rows, values = rows.detach().view(-1, layout.size), values.detach().view(-1)  # [1 or B, P], [1 or B]
        matrix[at : at + len(rows)] = sketch(rows) if sketch else rows
        losses[at : at + len(rows)] = values
        at += len(rows)
    return {"rows": matrix, "losses": losses}


def row_matrix(records: Iterable[Record], count: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Put the rows [M, W] and the losses [M] of all batches together.

    Args:
        records: of `row_records`, in the order of the groups.
        count, width: M, W.
        like: a tensor with the dtype and the device of the rows.
    """
    matrix = allocate(count, width, like=like)
    losses = torch.empty(count, dtype=like.dtype, device=like.device)
    at = 0
    for record in records:
        until = at + len(record["rows"])
        matrix[at:until], losses[at:until] = record["rows"], record["losses"]
        at = until
    return matrix, losses


def _pieces(batch: PreparedBatch, row_bytes: int) -> list[slice]:
    """Cut a batch so that the rows of each piece take at most BLOCK_BYTES."""
    most = max(1, BLOCK_BYTES // row_bytes)
    return [slice(s, s + most) for s in range(0, len(batch.positions), most)]
