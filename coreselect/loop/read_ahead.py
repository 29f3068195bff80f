"""Lightning reads the length of a loader once, before it tells the epoch; this finds that out from the stack of its call.

Of what it has read depend its validation, its checkpoints and its progress: in an epoch that is shorter than the one whose length
was read, the end of the epoch is not seen, and nothing is validated.
"""

import sys
from typing import Any

from coreselect.errors import ScheduleError


def lightning_trainer() -> Any:
    """Return the trainer, if Lightning is what tells the epoch to the method that asks this; else None."""
    told = sys._getframe(2)  # who has called the method
    loop = told.f_back
    if told.f_code.co_name != "_set_sampler_epoch" or loop is None or loop.f_code.co_name != "on_advance_start":
        return None
    return getattr(loop.f_locals.get("self"), "trainer", None)


def refuse_read_ahead(trainer: Any, told_before: bool, varies: bool) -> None:
    """Refuse a training that has read the length of another epoch than the one that begins.

    Args:
        trainer: from `lightning_trainer`.
        told_before: whether somebody had told the sampler this epoch already, before its length was read.
        varies: whether the epochs of the run have different lengths.
    Raises:
        ScheduleError: lengths vary, and the epoch is told too late or lengths are read once.
    """
    if not varies or (told_before and getattr(trainer, "reload_dataloaders_every_n_epochs", 0) == 1):
        return
    raise ScheduleError(
        "Lightning reads the length of a loader before it tells the epoch, and the epochs of this sampler differ in length, so it "
        "would not validate in some: give trainer.fit a datamodule, CoresetDataModule(sampler, pool, validation, batch_size=...) "
        "of coreselect_integrations.frameworks.lightning."
    )
