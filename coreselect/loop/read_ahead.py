"""Lightning reads the length of a loader once, before it tells the epoch; this finds that out from the stack of its call.

Of what it has read depend its validation, its checkpoints and its progress: in an epoch that is shorter than the one whose length
was read, the end of the epoch is not seen, and nothing is validated.
"""

import sys
from collections.abc import Callable

from coreselect.errors import ScheduleError


def refuse_read_ahead(told_before: bool, varies: Callable[[int], bool]) -> None:
    """Refuse that Lightning, having read the length of another epoch, tells a sampler the epoch that begins.

    `set_epoch` calls this, and only if Lightning is what calls `set_epoch` is there anything to refuse.

    Args:
        told_before: whether somebody had told the sampler this epoch already, before its length was read.
        varies: of a number of epochs, whether their lengths differ.
    Raises:
        ScheduleError: lengths vary, and the epoch is told too late or lengths are read once.
    """
    told = sys._getframe(2)  # who has called set_epoch
    loop = told.f_back
    if told.f_code.co_name != "_set_sampler_epoch" or loop is None or loop.f_code.co_name != "on_advance_start":
        return
    trainer = getattr(loop.f_locals.get("self"), "trainer", None)
    if told_before and getattr(trainer, "reload_dataloaders_every_n_epochs", 0) == 1:
        return
    epochs = getattr(trainer, "max_epochs", None) or 0
    if varies(epochs if epochs > 0 else 1000):
        raise ScheduleError(
            "Lightning reads the length of a loader before it tells the epoch, and the epochs of this sampler differ in length, so "
            "it would not validate in some: give trainer.fit a datamodule, CoresetDataModule(sampler, pool, validation, "
            "batch_size=...) of coreselect_integrations.frameworks.lightning."
        )
