"""Networks of a run as they were after some of its epochs, in files like the last one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

SNAPSHOTS = "snapshots"  # the folder of them, in that of the run


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Return the file of the network after epoch `epoch`, which counts from 0; the name counts from 1, as the log on stderr."""
    return folder / SNAPSHOTS / f"epoch-{epoch + 1:04d}.pt"


class Snapshots:
    """Write the network after every so many epochs.

    Args:
        folder: of the run.
        every: N ≥ 1; None writes nothing.
        write: (path, epoch) → writes the network as it is now.
    """

    def __init__(self, folder: Path, every: int | None, write: Callable[[Path, int], None]) -> None:
        self.folder, self.every, self.write = folder, every, write

    def after(self, epoch: int, *, missing: bool = False) -> None:
        """Write the network if it is time; with `missing`, only where the run was stopped just before it was written."""
        if self.every is None or epoch < 0 or (epoch + 1) % self.every:
            return
        path = snapshot_path(self.folder, epoch)
        if not (missing and path.exists()):
            self.write(path, epoch)
