"""Lightning's progress bar, used to show what a selection does: tqdm's or rich's, whichever the trainer has."""

from collections.abc import Callable
from typing import Any


def describe(trainer: Any) -> Callable[[str], None] | None:
    """Return what sets the description of the bar of training; None without a bar, or before it has begun.

    Args:
        trainer: a Lightning trainer, or None.
    """
    shown = trainer.progress_bar_callback if trainer is not None and trainer.is_global_zero else None
    if shown is None:
        return None
    own = vars(shown)
    rich, task = own.get("progress"), own.get("train_progress_bar_id")
    if rich is not None and task is not None:
        return lambda text: rich.update(task, description=text)
    bar = own.get("_train_progress_bar")
    return bar.set_description if hasattr(bar, "set_description") else None


class Shown:
    """A report of progress that a selection gives, in one line of the bar.

    Args:
        show: from `describe`.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show, self.begun = show, False

    def __call__(self, part: str, done: int, total: int) -> None:
        """Show how far a part of the selection is."""
        self.begun = True
        self.show(f"Selecting ({part} {done}/{total})")

    def end(self, text: str) -> None:
        """Give the bar a description again, if it has shown a selection."""
        if self.begun:
            self.show(text)
