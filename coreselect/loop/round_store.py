"""The store of a training run: one folder for the rows of the current round, inside the folder that the user gives.

Training changes the weights, so rows of an earlier round are of no more use, and are deleted when the next round is selected. A
round that is selected again from a checkpoint finds its rows, if the weights are the same bits; if they are not, it begins anew.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coreselect.gradients.row_store import FolderStore, OtherRunError
from coreselect.types import Selection

NAME = re.compile(r"round-[0-9]{6,}")


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
        own = self.folder / f"round-{round:06d}"
        for other in self._rounds():
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

    def _rounds(self) -> list[Path]:
        """Return the folders of rounds; whatever else has a name that begins like theirs is somebody's own."""
        there = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [p for p in there if NAME.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]
