"""Claims about the lock of a folder: one process at a time, no longer than it lives, and not its children."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from coreselect.errors import StoreError
from coreselect.io.folder_lock import NAME, FolderLock


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


@pytest.mark.parametrize("what", ["text", "link", "dangling", "pipe"])
def test_what_is_no_lock_of_ours_is_left_alone(tmp_path: Path, what: str) -> None:
    """Another file, a link or a pipe under the lock's name is refused in a sentence that names it, and not a byte changes."""
    path, text = tmp_path / NAME, tmp_path / "thesis.txt"
    text.write_text("precious")
    if what == "text":
        path.write_text("precious")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(text if what == "link" else tmp_path / "nowhere")
    with pytest.raises(StoreError, match=f"{NAME} is no lock of ours, .*: move it away, or give another folder"):
        FolderLock(tmp_path)
    assert what != "text" or path.read_text() == "precious"
    assert text.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == [NAME, "thesis.txt"]


@pytest.mark.parametrize("left", ["", "process 12 on host\n"], ids=["empty", "whole"])
def test_a_lock_that_a_killed_process_left_is_in_nobodys_way(tmp_path: Path, left: str) -> None:
    """A lock that nobody holds is taken, and removed at the end, also where its holder was killed before it wrote its name."""
    (tmp_path / NAME).write_text(left)
    FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


NO_SPACE = """
import resource, sys
from pathlib import Path
from coreselect.errors import StoreError
from coreselect.io.folder_lock import FolderLock
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    FolderLock(Path(sys.argv[1]) / "new")
except StoreError as why:
    print(why)
"""


def test_a_lock_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """Where no file may grow, the sentence names the lock's file, and the folder is as it was."""
    got = subprocess.run([sys.executable, "-c", NO_SPACE, str(tmp_path)], capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'new' / NAME} cannot be written (File too large)" in got.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_nowhere_is_no_folder(tmp_path: Path) -> None:
    """The sentence says where the link leads, and blames no lock; a link to a folder is used as that folder."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"link is a link to .*nowhere, which is no folder, .*: give another folder"):
        FolderLock(tmp_path / "link")
    (tmp_path / "nowhere").mkdir()
    FolderLock(tmp_path / "link").release()
