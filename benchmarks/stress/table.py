"""The table of options, resources and encodings: each cell is a command that succeeds or is refused in a line, and nothing else."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.stress.children import Ended, command

DONE, REFUSED, USAGE = 0, 1, 2
ENCODINGS = ("ascii", "latin-1", "cp1252", "utf-8")


@dataclass(frozen=True)
class Cell:
    """A command and what it must end with."""

    name: str
    words: tuple[object, ...]
    code: int
    said: str = ""
    encoding: str = "utf-8"
    limits: Mapping[int, int] = field(default_factory=dict)
    columns: int = 80


def cells(place: Path) -> list[Cell]:
    """Make the files that the commands need, and return the table."""
    features, index = place / "features.npy", place / "[red]c.npz"
    np.save(features, np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    os.mkfifo(place / "pipe.npz")
    (place / "folder.npz").mkdir()
    (place / "file").write_text("")
    base = ("select", "--features", features, "--selector", "k_center", "--count", 5)
    out = [Cell("a selection", (*base, "--out", index), DONE, "[red]c.npz")]
    for option, value in (
        ("--seed", 2**64), ("--seed", -1), ("--validation", "inf"), ("--radius", "nan"), ("--count", 0), ("--selectors", "rcs,rcs"),
    ):  # fmt: skip
        out.append(Cell(f"{option} {value}", (*base, option, value, "--out", place / "c.npz"), USAGE, option))
    for target in ("pipe.npz", "folder.npz", "file/c.npz", "c.what"):
        out.append(Cell(f"--out {target}", (*base, "--out", place / target), REFUSED, target.split("/")[0]))
    for words, code in ((("--device", "foo"), USAGE), (("--device", "cuda:99"), REFUSED)):
        out.append(
            Cell(" ".join(words), ("train", "sat", *words, "--out", place / "run"), code, words[1].split(":")[0])
        )
    out += [
        Cell("no such file", ("inspect", place / "none.npz"), REFUSED, "none.npz"),
        Cell(
            "no such method", (*base[:3], "--selector", "what", "--count", 5, "--out", place / "c.npz"), REFUSED, "what"
        ),
        Cell("no network", ("evaluate", "--from", features), REFUSED, "features.npy"),
        Cell(
            "file-size limit",
            (*base, "--out", place / "big.npz"),
            REFUSED,
            "big.npz",
            limits={resource.RLIMIT_FSIZE: 1000},
        ),
    ]
    for encoding in ENCODINGS:
        for columns in (40, 80):
            for words in (("inspect", index), ("methods",), ("inspect", index, "--json"), ("methods", "--help")):
                name = f"{' '.join(map(str, (words[0], *words[2:])))}, {encoding}, {columns} columns"
                out.append(Cell(name, words, DONE, encoding=encoding, columns=columns))
    return out


def run(place: Path) -> tuple[Counter[str], list[str]]:
    """Run the table; return counts by outcome, and what went wrong in words."""
    counts, wrong = Counter[str](), list[str]()
    for cell in cells(place):
        ended = command(cell.words, place, encoding=cell.encoding, limits=cell.limits, columns=cell.columns)
        said = _wrong(cell, ended)
        counts["as it must"] += said is None
        if said is not None:
            kind = "traceback" if ended.trace else "hang" if ended.hung else "another end"
            counts[kind] += 1
            wrong.append(f"{cell.name}: {kind}: {said}")
    return counts, wrong


def _wrong(cell: Cell, ended: Ended) -> str | None:
    text = ended.out + ended.err
    if ended.trace or ended.hung or ended.code != cell.code:
        return f"exit code {ended.code}, {cell.code} is due: {text[-300:]}"
    if cell.said not in text.replace("\n", ""):
        return f"{cell.said!r} is not said: {text[-300:]}"
    refusals = [line for line in ended.err.splitlines() if line.startswith(("refused:", "failed:"))]
    if cell.code == REFUSED and len(refusals) != 1:
        return f"{len(refusals)} lines say why: {ended.err[-300:]}"
    return None
