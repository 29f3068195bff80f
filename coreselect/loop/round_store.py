"""The store of a training run: one folder for the rows of the current round, inside the folder that the user gives.

Training changes the weights, so rows of an earlier round are of no more use, and are deleted when the next round is selected. A
round that is selected again from a checkpoint finds its rows, if the weights are the same bits; if they are not, it begins anew.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from coreselect.gradients.row_store import FolderStore, OtherRunError
from coreselect.io.folder_lock import FolderLock
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
        lock = FolderLock(self.folder)
        try:
            for other in self.folder.glob(f"{PREFIX}*"):
                if other != own:
                    shutil.rmtree(other, ignore_errors=True)
            try:
                return select(FolderStore(own))
            except OtherRunError as why:
                if why.names != {"weights"}:
                    raise
                shutil.rmtree(own)  # training went on from an earlier state, and came here with other weights
                return select(FolderStore(own))
        finally:
            lock.release()
