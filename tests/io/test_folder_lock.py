"""Claims about the lock of a folder: one process at a time, no longer than it lives, and not its children."""

import os
import socket
from pathlib import Path

import pytest

from coreselect.errors import StoreError
from coreselect.io.folder_lock import FolderLock


def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    """A second user is refused with the process and the host of the first; then the folder is free."""
    lock = FolderLock(tmp_path / "store")
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()} on {socket.gethostname()}"):
        FolderLock(tmp_path / "store")
    lock.release()
    FolderLock(tmp_path / "store").release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    """A child that is still there after its parent let go does not hold the lock."""
    lock = FolderLock(tmp_path)
    ours, theirs = os.pipe()
    started, starts = os.pipe()
    child = os.fork()
    if not child:
        os.close(theirs)
        os.write(starts, b"1")
        os.read(ours, 1)  # until the parent is done
        os._exit(0)
    try:
        os.close(ours)
        os.read(started, 1)
        lock.release()
        FolderLock(tmp_path).release()
    finally:
        for end in (theirs, started, starts):
            os.close(end)
        os.waitpid(child, 0)


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """A path below a file cannot be a folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used as a store"):
        FolderLock(tmp_path / "file" / "store")
