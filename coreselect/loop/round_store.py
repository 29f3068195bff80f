"""The store of a training run: one folder for the rows of the current round, inside the folder that the user gives.

Training changes the weights, so rows of an earlier round are of no more use, and are deleted when the next round is selected. A
round that is selected again from a checkpoint finds its rows, if the weights are the same bits; if they are not, it begins anew.
One run at a time uses the folder; of several ranks, the first keeps other runs out.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from coreselect.errors import DataError, StoreError
from coreselect.gradients.row_store import FolderStore, OtherRunError
from coreselect.io.folder_contents import found_in
from coreselect.io.sole_use import SoleUse
from coreselect.support import ranks
from coreselect.types import Selection

NAME = re.compile(r"round-[0-9]{6,}")


class RoundStore:
    """Rows of the current round of one training run.

    Args:
        folder: made if it is missing.
    Attributes:
        begun: whether this run has begun to use it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.begun = False
        self._use: SoleUse | None = None

    def begin(self) -> None:
        """Keep other runs out from now on, until `close` or the end of this object, and see that rows can be written.

        Raises:
            StoreError: another process uses the folder or one in it, or it cannot be written.
        """
        if self.begun:
            return
        if ranks.rank() == 0:
            try:
                self._use = SoleUse(self.folder, what="a store")
            except DataError as why:
                raise StoreError(str(why)) from why
        try:
            for own in {*self._rounds(), self.folder / "round-000000"}:  # one at least, where no round has begun
                FolderStore(own).check()
        except StoreError:
            self.close()
            raise
        self.begun = True

    def close(self) -> None:
        """Let other runs in."""
        use, self.begun, self._use = self._use, False, None
        if use is not None:
            use.release()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "begun": False, "_use": None}  # a copy has no use of its own yet

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
        return [p for p in found_in(self.folder) if NAME.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]
