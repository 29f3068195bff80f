"""Claims about the sole use of a place: another process is refused, this one is not, and killed writers leave nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from coreselect.errors import DataError
from coreselect.io import system_lock
from coreselect.io.atomic import atomic_file, sweep
from coreselect.io.folder_lock import FolderLock
from coreselect.io.sole_use import NoLocksWarning, SoleUse, shared_use, sole_use, sole_writing

HOLD = """
import sys, time
from pathlib import Path
from coreselect.io.atomic import atomic_file
from coreselect.io.sole_use import SoleUse
if sys.argv[2] == "use":
    use = SoleUse(Path(sys.argv[1]))
    print("ready", flush=True)
    time.sleep(60)
with atomic_file(Path(sys.argv[1]) / "c.npz") as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, how: str) -> subprocess.Popen[str]:
    """A process that uses a folder, or writes a file there, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    """The sentence has the process and says what to do; after kill -9 the folder is free, and nothing is left at the end."""
    folder = tmp_path / "run"
    first = holder(folder, "use")
    try:
        with pytest.raises(DataError, match=f"run is in use by process {first.pid} on .+: wait"):
            SoleUse(folder)
    finally:
        end(first)
    with sole_use(folder):
        assert (folder / ".coreselect.lock").exists()
    assert list(folder.iterdir()) == []


def test_a_patient_process_waits_for_the_first(tmp_path: Path) -> None:
    """It enters once the first is gone; a place that cannot be used at all is refused without waiting."""
    folder = tmp_path / "run"
    first = holder(folder, "use")
    gone = threading.Timer(0.3, end, [first])
    gone.start()
    with sole_use(folder, patient=True):
        assert first.poll() is not None
    gone.join()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be used"), sole_use(tmp_path / "file" / "run", patient=True):
        pass


def test_a_process_may_use_its_place_twice(tmp_path: Path) -> None:
    """A command and the training inside share the lock; the last that ends lets others in."""
    with sole_use(tmp_path):
        inner = SoleUse(tmp_path)
        inner.release()
        inner.release()
        assert (tmp_path / ".coreselect.lock").exists()
    assert not (tmp_path / ".coreselect.lock").exists()


def test_a_folder_is_shared_or_used_alone(tmp_path: Path) -> None:
    """Several share it, and the last of them lets one in that needs it alone; that one keeps them all out."""
    folder = tmp_path / "race"
    with shared_use(folder, "a race"):
        with shared_use(folder, "a race"), pytest.raises(DataError, match="in use by process"):
            SoleUse(folder)
        with pytest.raises(DataError, match="in use by process"):
            SoleUse(folder)
    assert list(tmp_path.iterdir()) == []
    other = FolderLock(folder)
    with pytest.raises(DataError, match=r"race is in use by process .+: wait"), shared_use(folder, "a race"):
        pass
    other.release()


def test_an_index_file_has_one_writer(tmp_path: Path) -> None:
    """The lock is of the file, not of its folder, and leaves no trace."""
    with sole_writing(tmp_path / "new" / "a.npz"), sole_writing(tmp_path / "new" / "b.npz"):
        assert len(list((tmp_path / "new").iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work goes on with a note, and files are still written whole."""

    def none(handle: int, *, shared: bool = False) -> bool:
        raise system_lock.NoLocksError(95, "Operation not supported")

    monkeypatch.setattr("coreselect.io.folder_lock.try_lock", none)
    monkeypatch.setattr("coreselect.io.atomic.try_lock", none)
    with (
        pytest.warns(NoLocksWarning, match=r"no file locks \(Operation not supported\)"),
        sole_use(tmp_path),
        atomic_file(tmp_path / "c.npz") as file,
    ):
        file.write(b"whole")
    (tmp_path / ".coreselect-0.tmp").write_bytes(b"")
    sweep(tmp_path)
    assert (tmp_path / "c.npz").read_bytes() == b"whole"
    assert (tmp_path / ".coreselect-0.tmp").exists()  # nobody knows whether its writer lives


def test_temporary_files_of_killed_writers_are_swept(tmp_path: Path) -> None:
    """Those of a living writer stay; after its kill, the next use of the folder deletes them."""
    writer = holder(tmp_path, "write")
    (tmp_path / ".coreselect-00ff.tmp").write_bytes(b"of a dead writer")
    try:
        sweep(tmp_path)
        assert len(list(tmp_path.glob(".coreselect-*.tmp"))) == 1
    finally:
        end(writer)
    time.sleep(0.01)
    with sole_use(tmp_path):
        assert [p.name for p in tmp_path.iterdir()] == [".coreselect.lock"]
    assert list(tmp_path.iterdir()) == []
