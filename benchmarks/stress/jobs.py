"""The long works that are killed: their commands, what they leave, and what of it must not depend on how often they were killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coreselect import Selection
from coreselect.errors import CoreselectError
from coreselect.io.record_log import RecordLog
from coreselect.io.weights_file import load_verified
from coreselect.support.records import digest_of
from coreselect_integrations.networks import load_network

SMALL = ("--rows", 120, "--validation", 20, "--arch", "small", "--attack-steps", 1)
TRAIN = (*SMALL, "--batch-size", 32, "--radius", 0.1, "--seed", 3)
SELECTION = ("--selector", "rcs", "--fraction", 0.3, "--warmup", 1, "--every", 2, "--select-attack-steps", 1)


@dataclass(frozen=True)
class Job:
    """A work that can be killed and begun again.

    Attributes:
        words: (folder of the run, folder of a trained network) → the command line.
        result: folder → what must be the same however often it was killed.
    """

    words: Callable[[Path, Path], Sequence[object]]
    result: Callable[[Path], Any]


def _selection(folder: Path) -> Any:
    found = Selection.load(folder / "c.npz")
    return found.indices.tolist(), [float(g) for g in found.gains]


def _weights(folder: Path) -> Any:
    return digest_of(load_network(folder / "model.pt").weights, 8)


def _table(folder: Path) -> Any:
    held = json.loads((folder / "results.json").read_text())
    records = held["records"] if isinstance(held, dict) else held
    return [(r["method"], r["seed"], r["error"], r["accuracy"], r["rd"]) for r in records]


JOBS: dict[str, Job] = {
    "select": Job(lambda out, net: ["select", *SMALL, "--count", 20, "--seed", 3, "--out", out / "c.npz"], _selection),
    "sweep": Job(
        lambda out, net: ["select", *SMALL, "--count", 20, "--seed", 3, "--batch-size", 8, "--group-size", 8, "--store",
                          out / "store", "--out", out / "c.npz"], _selection,
    ),
    "train": Job(lambda out, net: ["train", "sat", *TRAIN, "--epochs", 4, *SELECTION, "--out", out], _weights),
    "finetune": Job(
        lambda out, net: ["finetune", "alf", "--from", net / "model.pt", "--rows", 100, "--epochs", 4, "--batch-size", 32,
                          "--out", out], _weights,
    ),
    "compare": Job(
        lambda out, net: ["compare", *SMALL, "--batch-size", 32, "--epochs", 3, "--warmup", 1, "--every", 1, "--selectors",
                          "rs2,rcs", "--fractions", 0.3, "--seeds", 1, "--test-rows", 40, "--clock", "cpu", "--out", out],
        _table,
    ),
}  # fmt: skip


def half_files(folder: Path) -> list[str]:
    """Return the files of a folder that their own readers refuse; temporary files and locks are not read."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        read = READERS.get(path.suffix)
        if path.is_file() and read is not None and not path.name.startswith("."):
            try:
                read(path)
            except (CoreselectError, ValueError, KeyError) as why:
                wrong.append(f"{path.name}: {why}")
    return wrong


def _rows(path: Path) -> None:
    """A store's last record may be cut: it is dropped. Anything else is damage."""
    with RecordLog(path, write=False) as log:
        if log.damaged:
            raise ValueError("damaged")


READERS: dict[str, Callable[[Path], object]] = {
    ".npz": Selection.load, ".pt": load_verified, ".json": lambda path: json.loads(path.read_text()), ".rows": _rows,
}  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    """Return temporary files and locks that a finished work has left."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith((".tmp", ".lock"))]
