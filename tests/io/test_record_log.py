"""Claims about files of records: whatever happens to the bytes, what is read is a prefix of what was written."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from coreselect.errors import StoreError
from coreselect.io import record_log
from coreselect.io.record_log import RecordLog

HEADER = {"what": "rows", "seed": 3, "scale": float("inf")}
WRITTEN = [b"first", b"", bytes(range(40)), b"last"]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: Any) -> None:
    """These tests cut and change files themselves, so nothing has to reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def filled(path: Path) -> bytes:
    """Write a file of four records and return its bytes."""
    with RecordLog.made(path, HEADER) as log:
        for content in WRITTEN:
            log.append(content)
    return path.read_bytes()


def read(path: Path) -> list[bytes]:
    """Open a file and read what it holds."""
    with RecordLog(path) as log:
        assert log.header == HEADER
        return [bytes(content) for content in log]


def test_records_come_back_in_order_with_their_header(tmp_path: Path) -> None:
    """What is written is read again, also when the file was closed and continued in between."""
    path = tmp_path / "rows"
    filled(path)
    assert read(path) == WRITTEN
    with RecordLog(path) as log:
        log.append(b"one more")
        assert len(log) == 5
    assert read(path) == [*WRITTEN, b"one more"]


def test_a_file_cut_at_any_byte_holds_the_records_before_the_cut(tmp_path: Path) -> None:
    """Cut inside the records, a file gives the whole ones without a word and goes on; cut inside its header, it is refused."""
    path = tmp_path / "rows"
    whole = filled(path)
    with RecordLog(path) as log:
        header = log._ends[0]
    seen = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            with RecordLog(path) as log:
                kept = list(log)
                assert not log.damaged
                log.append(b"next")
        except StoreError:
            seen.add(-1)
            assert length < header
            continue
        assert kept == WRITTEN[: len(kept)]
        assert read(path) == [*kept, b"next"]
        seen.add(len(kept))
    assert seen == {-1, 0, 1, 2, 3}


def test_a_flipped_bit_never_changes_what_is_read(tmp_path: Path) -> None:
    """With any one bit changed, a file gives a prefix of its records and says that it is damaged, or is refused."""
    path = tmp_path / "rows"
    whole = filled(path)
    with RecordLog(path) as log:
        header = log._ends[0]
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            with RecordLog(path) as log:
                kept = list(log)
                assert log.damaged
                assert len(log) == len(kept) < 4
        except StoreError:
            assert at < header
            continue
        assert kept == WRITTEN[: len(kept)]
        assert read(path) == kept


def test_records_cannot_change_places(tmp_path: Path) -> None:
    """A record that stands in another's place counts as damaged."""
    path = tmp_path / "rows"
    whole = filled(path)
    with RecordLog(path) as log:
        a, b, c = log._ends[0], log._ends[1], log._ends[2]
    path.write_bytes(whole[:a] + whole[b:c] + whole[a:b] + whole[c:])
    assert read(path) == []


def test_a_full_disk_keeps_the_records_before(tmp_path: Path, monkeypatch: Any) -> None:
    """A write that fails half-way leaves the whole records, and one sentence says what to do."""
    path = tmp_path / "rows"
    filled(path)
    plain = record_log._write_all

    def full(file: Any, data: bytes) -> None:
        plain(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RecordLog(path) as log:
        monkeypatch.setattr(record_log, "_write_all", full)
        with pytest.raises(StoreError, match=r"No space left on device.* after 4 records, which are kept"):
            log.append(b"x" * 100)
        monkeypatch.undo()
    assert read(path) == WRITTEN
