"""Rows from what training has just computed: no sweep over the pool, no attack, only the head.

    z_i = what the head read of example i when training saw it last;   r_i = ∇_θ ℓ(head_θ(z_i), y_i) at today's head θ

The head is today's, the features are those of the weights of their epoch, with the batch statistics of training. So rows are an
approximation, and how far they are from fresh ones is measured in the documents.
"""

import torch

from coreselect.errors import RequirementError
from coreselect.network.network import HeadSplit
from coreselect.task.context import missing
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.prepared import PreparedPool
from coreselect.task.snapshot import Snapshot

NOTE = "rows are of features that training has recorded, under today's head: the pool was neither read nor attacked"


def use_recorded(snapshot: Snapshot) -> str:
    """Let a snapshot's rows be those of recorded features; return a note.

    Raises:
        RequirementError: there is no model, or no history that keeps features; the loss needs a batch or several forward
            passes; more than a head is captured; the head reads another shape; or training has not seen some examples.
    """
    history = snapshot.pool_history
    if not isinstance(snapshot, ModelSnapshot) or history is None or history.features is None:
        raise missing("recorded features", "give Task.from_model(history=History(n, features=True)) and train with it")
    loss, net = snapshot.task.loss, snapshot.net
    if not loss.per_example or len(loss.streams) != 1:
        raise RequirementError(
            f"recorded features serve losses of one forward pass for each example, such as 'sat', and {loss.name!r} reads "
            f"{len(loss.streams)} or compares examples: use rows='fresh'."
        )
    if not isinstance(net, HeadSplit) or not snapshot.model_rows.has_factors():
        raise RequirementError(
            "recorded features serve rows of a head of Linear layers: use rows='fresh' for this capture."
        )
    z = history.features.at(snapshot.positions)  # [n, …]
    (stream,) = loss.streams
    with torch.no_grad():
        read = net.prepare(snapshot.opened.probe(), stream[0])
    if read.shape[1:] != z.shape[1:]:
        raise RequirementError(
            f"the head reads features of shape {list(read.shape[1:])}, and {list(z.shape[1:])} were recorded: record the inputs of "
            f"{net.name!r}."
        )
    labels = torch.from_numpy(snapshot.labels()).to(read.device) if loss.needs_labels else None
    snapshot.model_rows.use(PreparedPool({stream: z.to(read)}, labels))
    return NOTE
