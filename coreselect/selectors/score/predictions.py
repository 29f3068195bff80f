"""What scores of training dynamics read: what training has recorded."""

from coreselect.errors import RequirementError
from coreselect.history import Record
from coreselect.task.snapshot import Snapshot


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
