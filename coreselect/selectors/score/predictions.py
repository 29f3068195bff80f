"""What scores read: the model's log probabilities, the labels, and what training has recorded."""

import torch
from scipy.special import log_softmax

from coreselect.errors import RequirementError, ShapeError
from coreselect.gradients.inputs import refuse_labels
from coreselect.history import Record
from coreselect.selectors.checks import finite_array
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def log_probabilities(snapshot: Snapshot, *, attacked: bool = False) -> Float64:
    """Return the log softmax of natural (or attacked) logits: [n, C] in float64, C ≥ 2.

    Raises:
        ShapeError: there is only one output, so there are no classes.
        NonFiniteError: logits hold NaN or infinity.
    """
    logits = snapshot.attacked_logits() if attacked else snapshot.logits()
    z = finite_array(logits, "logits", snapshot.positions)
    if z.shape[1] < 2:
        raise ShapeError(f"a score of classes needs logits of at least 2 outputs, got {z.shape[1]}: give a wider head.")
    return log_softmax(z, axis=1)


def class_labels(snapshot: Snapshot, classes: int) -> Int64:
    """Return the labels [n]; raise an error if one is outside 0…classes−1."""
    y = snapshot.labels()
    refuse_labels(snapshot.positions, torch.from_numpy(y), classes)
    return y


def training_record(snapshot: Snapshot, *, attacked: bool = False) -> tuple[Record, tuple[str, ...]]:
    """Return what training has recorded, and a note if it was about attacked inputs.

    Args:
        attacked: whether the record must be about attacked inputs.
    Raises:
        RequirementError: there is no history, it is empty, or it is about natural inputs and `attacked` is set.
    """
    record = snapshot.history()
    if not record.seen.any() and not record.columns["input_norm_seen"].any():
        raise RequirementError(
            f"this history has recorded none of the {snapshot.n} examples: train at least one epoch with it before selecting."
        )
    if attacked and not record.attacked:
        raise RequirementError(
            "this history is about natural inputs, and attacked ones are needed: record attacked logits with "
            "record(…, attacked=True), as adversarial training does."
        )
    return record, ("the history is about attacked inputs",) if record.attacked else ()
