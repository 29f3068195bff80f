"""A command of `coreselect` in a forked child: its output goes to files, and it can be killed, limited, or interrupted.

The parent has imported everything and has computed nothing, so a child begins at once, and no thread of torch is lost in the fork.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HANGS = 180.0  # seconds after which a command hangs


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal that ended it; `hung` if it was killed because it took too long."""

    code: int
    out: str
    err: str
    seconds: float
    hung: bool = False

    @property
    def trace(self) -> bool:
        """Whether a traceback was shown."""
        return "Traceback (most recent call last)" in self.err + self.out


def imported() -> None:
    """Import what commands need, once, in the parent."""
    import sklearn.datasets  # noqa: F401
    import torch

    torch.set_num_threads(1)


def command(
    words: Sequence[object],
    place: Path,
    *,
    kill_after: float | None = None,
    encoding: str = "utf-8",
    limits: Mapping[int, int] | None = None,
    columns: int = 80,
) -> Ended:
    """Run one command and wait for it.

    Args:
        words: of the command line.
        place: a folder for its output.
        kill_after: seconds until it is killed, by SIGKILL; None lets it run.
        encoding: of its stdout and stderr.
        limits: soft limits by resource, of `resource`.
        columns: width of its terminal.
    """
    paths = [place / "stdout", place / "stderr"]
    begin = time.monotonic()
    child = os.fork()
    if not child:
        _become(lambda: _main(words, columns), paths, encoding, limits or {})
    status, hung = _waited(child, begin, kill_after)
    out, err = (path.read_bytes().decode(encoding, "replace") for path in paths)
    return Ended(os.waitstatus_to_exitcode(status), out, err, time.monotonic() - begin, hung)


def _waited(child: int, begin: float, kill_after: float | None) -> tuple[int, bool]:
    """Wait for a child, and kill it when its time has come."""
    until = begin + (HANGS if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status, False
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1], kill_after is None
        time.sleep(0.002)


def _become(work: Callable[[], None], paths: Sequence[Path], encoding: str, limits: Mapping[int, int]) -> None:
    """Do the work as the child, and end; nothing of the parent runs after it."""
    code = 70
    try:
        for number, path in enumerate(paths, 1):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115  # open to the end
        sys.stderr = open(2, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        for kind, most in limits.items():
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
            if kind == resource.RLIMIT_FSIZE:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _main(words: Sequence[object], columns: int) -> None:
    from coreselect.cli.app import main

    os.environ["COLUMNS"] = str(columns)
    sys.argv = ["coreselect", *map(str, words)]
    main()
