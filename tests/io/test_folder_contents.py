"""A folder can be listed while another process makes and removes it."""

import threading
from pathlib import Path

from coreselect.gradients.row_store import FolderStore
from coreselect.io.folder_contents import found_in


def test_names_of_a_pattern_are_found_in_order_hidden_ones_included(tmp_path: Path) -> None:
    for name in ("b.rows", "a.rows", "a.txt", ".hidden.rows"):
        (tmp_path / name).touch()
    assert [p.name for p in found_in(tmp_path, "*.rows")] == [".hidden.rows", "a.rows", "b.rows"]
    assert len(found_in(tmp_path)) == 4


def test_no_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found_in(tmp_path / "none") == found_in(tmp_path / "file") == found_in(tmp_path / "file" / "below") == []


def test_a_store_is_listed_while_its_folder_comes_and_goes(tmp_path: Path) -> None:
    """A lock makes the folder, and removes it when it is released: a listing at any moment says that nothing is there."""
    folder, done = tmp_path / "store", threading.Event()

    def blink() -> None:
        while not done.is_set():
            folder.mkdir()
            folder.rmdir()

    other = threading.Thread(target=blink)
    other.start()
    try:
        assert all(FolderStore(folder).contents() == [] for _ in range(5000))
    finally:
        done.set()
        other.join()
