"""Records of sweeps in a folder, from which a sweep that was killed goes on.

Each sweep is one file of records (`coreselect.io.record_log`). Its header holds what the numbers depend on: the run (pool, weights,
seed, round, …), the kind and settings of the records, and a digest of the positions in each batch.
"""

import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from coreselect.errors import CoreselectWarning, StoreError, first_few
from coreselect.gradients.described import described, differences, plain
from coreselect.gradients.parts import Batches, Key, Make, Parts, Record
from coreselect.gradients.record_bytes import decoded, encoded
from coreselect.io import strict_json
from coreselect.io.atomic import sweep
from coreselect.io.folder_contents import found_in
from coreselect.io.folder_lock import FolderLock
from coreselect.io.record_log import RecordLog

ENDING = ".rows"
OWN = re.compile(rf"[a-z-]+-[0-9a-f]{{16}}{re.escape(ENDING)}")  # names that `_Folder` gives
OF_A_RANK = re.compile(r"rank-[0-9]+-of-[0-9]+")


class DamagedStoreWarning(CoreselectWarning):
    """Some stored rows have other bytes than were written; they are computed again."""


class RowStore(Protocol):
    """What keeps the records of sweeps."""

    def opened(self, run: Mapping[str, Any], device: torch.device) -> AbstractContextManager[Parts]:
        """Open it for one selection: a context manager that gives a `Parts`.

        Args:
            run: what every number depends on, as values that JSON can hold.
            device: of the records.
        """
        ...


class FolderStore:
    """Records in a folder. What is missing is made batch by batch, and each batch is written before the next is made.

    In a process group each rank keeps what it makes in a folder of its own inside, so the ranks need no common disk.

    Args:
        folder: made if it is missing; one process at a time may use it.
    """

    def __init__(self, folder: str | Path) -> None:
        self._given = Path(folder)

    @property
    def folder(self) -> Path:
        """The folder of this process."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._given / f"rank-{dist.get_rank()}-of-{dist.get_world_size()}"
        return self._given

    def delete(self) -> None:
        """Delete what this process has kept, or what every rank has, where this is no rank; other people's files stay.

        Raises:
            StoreError: another process is using it.
        """
        folders = [self.folder]
        if self.folder == self._given:
            folders = [*(f for f in found_in(self._given) if OF_A_RANK.fullmatch(f.name)), self._given]
        for folder in folders:
            if folder.is_dir() and not folder.is_symlink():
                _empty(folder)

    @contextmanager
    def opened(self, run: Mapping[str, Any], device: torch.device) -> Iterator[Parts]:
        """Open the folder for one selection.

        Raises:
            StoreError: it is in use, cannot be written, is damaged, or holds rows of another run; the message says what differs.
        """
        lock = FolderLock(self.folder)
        try:
            run = plain(run)
            for path in self._files():
                with RecordLog(path, write=False) as log:
                    refuse_other_run(self.folder, log.header["run"], run)
            yield _Folder(self.folder, run, device)
        finally:
            lock.release()

    def check(self) -> None:
        """Refuse a folder that is in use or cannot be written, before any work.

        Raises:
            StoreError: it is.
        """
        FolderLock(self.folder).release()

    def contents(self) -> list[tuple[str, int, int]]:
        """Return (kind, batches that are there, batches in all) of each sweep; nothing where there is no folder."""
        out = []
        for path in self._files():
            with RecordLog(path, write=False) as log:
                out.append((str(log.header["kind"]), len(log), int(log.header["batches"])))
        return out

    def _files(self) -> list[Path]:
        return found_in(self.folder, f"*{ENDING}")


def _empty(folder: Path) -> None:
    """Delete the rows in a folder, and the folder if nothing else is in it.

    Raises:
        StoreError: another process is using it.
    """
    lock = FolderLock(folder)
    try:
        for path in found_in(folder):
            if OWN.fullmatch(path.name):
                with suppress(OSError):  # it is a folder, or closed to this user
                    path.unlink()
        sweep(folder)
    finally:
        lock.release()
    with suppress(OSError):  # somebody's files are in it, or another process has just begun here
        folder.rmdir()


class _Folder:
    """An open folder, for one run; a `Parts`."""

    def __init__(self, folder: Path, run: Mapping[str, Any], device: torch.device) -> None:
        self._folder, self._run, self._device = folder, run, device
        self._done: set[Path] = set()  # files of sweeps that are known to be finished

    def __call__(self, key: Key, batches: Batches, make: Make) -> Iterator[Record]:
        if not batches:
            return
        with self._log(key, batches) as log:
            for content in log:
                yield decoded(content, self._device)
            if log.damaged:
                warnings.warn(
                    f"{log.path} is damaged after {len(log)} of {len(batches)} batches: the others are computed again.",
                    DamagedStoreWarning,
                    stacklevel=2,
                )
            if len(log) == len(batches):
                return
            for record in make(batches[len(log) :]):
                pieces = encoded(record)
                log.append(*pieces)
                if len(log) == 1:
                    self._refuse_small_disk(sum(len(piece) for piece in pieces), len(batches) - 1)
                yield record

    def _log(self, key: Key, batches: Batches) -> RecordLog:
        header = {"run": self._run, **described(key, batches)}
        name = blake2b(strict_json.canonical(header).encode(), digest_size=8).hexdigest()
        path = self._folder / f"{re.sub('[^a-z]+', '-', key.kind.lower())}-{name}{ENDING}"
        if path.exists():
            return RecordLog(path)
        self._refuse_unfinished(header)
        return RecordLog.made(path, header)

    def _refuse_unfinished(self, wanted: Mapping[str, Any]) -> None:
        """Refuse to begin a sweep beside one that is not done: most likely a setting differs by mistake."""
        for path in sorted(set(found_in(self._folder, f"*{ENDING}")) - self._done):
            with RecordLog(path, write=False) as log:
                done, header = len(log), log.header
            if done == header["batches"]:
                self._done.add(path)
            elif done:
                what = first_few(differences(header, wanted))
                raise StoreError(
                    f"{self._folder} holds {done} of {header['batches']} batches of another sweep, which differs in {what}: run "
                    "that one again to finish it, give another folder, or delete this one."
                )

    def _refuse_small_disk(self, size: int, more: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if size * more > free:
            raise StoreError(
                f"the rows of {more} more batches take {size * more / 2**30:.2g} GiB, and {self._folder} has "
                f"{free / 2**30:.2g} GiB left: make space, or give a folder on another disk; the first batch is kept."
            )


class OtherRunError(StoreError):
    """A folder that holds rows of another run; `names` are what differs."""

    def __init__(self, folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        what = first_few(differences(held, wanted))
        super().__init__(
            f"{folder} holds rows of another run, which differs in {what}: give another folder, or delete this one."
        )
        self.names = frozenset(n for n in {*held, *wanted} if held.get(n) != wanted.get(n))


def refuse_other_run(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise OtherRunError if a folder holds rows of another run."""
    if held != wanted:
        raise OtherRunError(folder, held, wanted)
