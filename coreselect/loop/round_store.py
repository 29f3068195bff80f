"""The store of a training run: one folder for the rows of the current round, inside the folder that the user gives.

Training changes the weights, so rows of an earlier round are of no more use, and are deleted when the next round is selected. A
round that is selected again from a checkpoint finds its rows, if the weights are the same bits; if they are not, it begins anew.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coreselect.gradients.row_store import FolderStore, OtherRunError
from coreselect.types import Selection

PREFIX = "round-"


class RoundStore:
    """Rows of the current round of one training run.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def selected(self, round: int, select: Callable[[FolderStore], Selection]) -> Selection:
        """Select for a round, with its rows in a folder of its own.

        Args:
            select: makes the selection with a store.
        Raises:
            StoreError: another process is selecting with this folder, it cannot be written, or it holds another run's rows.
        """
        own = self.folder / f"{PREFIX}{round:06d}"
        for other in sorted(self.folder.glob(f"{PREFIX}*")):
            if other != own:
                FolderStore(other).delete()
                with suppress(OSError):  # other ranks may have rows in it
                    other.rmdir()
        store = FolderStore(own)
        try:
            return select(store)
        except OtherRunError as why:
            if why.names != {"weights"}:
                raise
            store.delete()  # training went on from an earlier state, and came here with other weights
            return select(store)
