"""A file that is written beside training: a thread writes a copy of the state while the next epoch runs.

The thread writes as everybody does (`coreselect.io.atomic`), so that a kill at any moment leaves the file before or the file after.
Copying and syncing release Python's lock, so the training goes on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

LARGE = 2**23  # bytes of a state that is written beside training; smaller ones take a moment and are written at once
_writing: dict[Path, threading.Thread] = {}  # folder → the thread that writes there


class Beside:
    """Write one thing after the other in a folder, each beside the work of the caller."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._failed = folder.resolve(), list[BaseException]()

    def start(self, work: Callable[[], None]) -> None:
        """Begin to write, after what was begun before has ended.

        Raises:
            OSError: what was begun before has failed.
        """
        self.wait()
        thread = threading.Thread(target=self._run, args=(work,), name=f"writes {self._folder.name}")
        _writing[self._folder] = thread
        thread.start()

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            OSError: it could not be.
        """
        wait_for(self._folder)
        if self._failed:
            raise self._failed.pop()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as why:  # it is raised where the caller waits
            self._failed.append(why)


def wait_for(folder: Path) -> None:
    """Wait until nothing is being written into a folder by this process."""
    thread = _writing.pop(folder.resolve(), None)
    if thread is not None:
        thread.join()


def size_of(state: Any) -> int:
    """Return the bytes of the tensors in a state."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(size_of, state.values()))
    return sum(map(size_of, state)) if isinstance(state, list | tuple) else 0
