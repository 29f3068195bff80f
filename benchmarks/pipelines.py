"""Whole experiments by commands: `coreselect train`, `finetune slf` and `alf`, `evaluate`.

    python -m benchmarks.pipelines small --data DIR --work DIR --out FILE
    python -m benchmarks.pipelines --table FILE

A cell is a system, a selection method and a seed. Each of its steps is a command. A killed command continues, and a step
with a finished result is not repeated. A command that fails is recorded, and gives exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.environment import environment

REFERENCE = "rs2"
TUNED = ("slf", "alf")


@dataclass(frozen=True)
class Study:
    """What the cells share: options of the commands; `own` are those of one system.

    There is a cell for each of `systems`, `selectors` and `seeds`. `rows` is the number of training images, including
    held-out ones; `tuned` is the number that SLF and ALF read; `tested` is the number of test images.
    """

    systems: tuple[str, ...]
    selectors: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: int
    tuned: int
    tested: int
    shared: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]]
    tuning: tuple[str, ...]
    alf: tuple[str, ...] = ()


_CORESET = ("--epochs", "7", "--fraction", "0.1", "--warmup", "1", "--every", "2", "--select-attack-steps", "1")
_HELD = ("--validation", "500", "--batch-size", "64", "--lr-warmup", "1")
_TUNING = ("--epochs", "5", "--batch-size", "128", "--lr", "0.1")
_SGD = ("--optimiser", "sgd", "--weight-decay", "1e-4")
_HALF = ("--precision", "bf16")
_ONE_STEP = ("--attack-steps", "1", "--step", str(10 / 255))
_TWO_STEPS = ("--attack-steps", "2", "--step", str(5 / 255))

STUDIES: Mapping[str, Study] = {
    "small": Study(
        systems=("sat", "acl", "dynacl-air"), selectors=("rs2", "rcs", "full"), seeds=(0, 1, 2),
        rows=10_500, tuned=5_000, tested=2_000, shared=("--arch", "small", *_CORESET, *_HELD),
        own={
            "sat": (), "acl": (*_SGD, "--lr", "0.1"),
            "dynacl-air": (*_SGD, "--lr", "0.1", "--interval", "1"),
        },
        tuning=_TUNING,
    ),
    "resnet18-sat": Study(
        systems=("sat",), selectors=("rs2", "rcs", "full"), seeds=(0,), rows=10_500, tuned=2_000, tested=500,
        shared=("--arch", "resnet18", *_CORESET, *_HELD, *_HALF), own={"sat": ("--lr", "0.05", *_TWO_STEPS)},
        tuning=(*_TUNING, *_HALF), alf=("--attack-steps", "2"),
    ),
    "resnet18-contrastive": Study(
        systems=("acl", "dynacl-air"), selectors=("rs2", "rcs", "full"), seeds=(0,), rows=10_500, tuned=1_000, tested=500,
        shared=("--arch", "resnet18", *_CORESET, *_HELD, *_HALF, *_SGD, "--lr", "0.05", *_ONE_STEP),
        own={"acl": (), "dynacl-air": ("--interval", "1")}, tuning=(*_TUNING, *_HALF), alf=("--attack-steps", "2"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One experiment of a study; its folder holds a run of `coreselect train`, with `slf` and `alf` in folders below."""

    study: str
    system: str
    selector: str
    seed: int

    def folder(self, work: Path) -> Path:
        """Return its folder."""
        return work / self.study / f"{self.system}-{self.selector}-{self.seed}"

    def steps(self, work: Path, data: str) -> Iterator[tuple[Path, list[str]]]:
        """Yield the result file and the command of each step; the file of an evaluation is what it prints."""
        study, folder = STUDIES[self.study], self.folder(work)
        seed = ("--seed", str(self.seed))
        train = ["train", self.system, "--data", data, "--rows", str(study.rows), "--selector", self.selector, *seed]
        yield folder / "model.pt", [*train, *study.shared, *study.own[self.system], "--out", str(folder)]
        judge = ["evaluate", "--data", data, "--rows", str(study.tested), "--attacks", "pgd20", *seed, "--json"]
        if self.system == "sat":
            yield folder / "evaluation.json", [*judge, "--from", str(folder / "model.pt")]
        for mode in TUNED:
            options = [*study.tuning, *(study.alf if mode == "alf" else ()), "--rows", str(study.tuned), *seed]
            start = ["--from", str(folder / "model.pt"), "--out", str(folder / mode)]
            yield folder / mode / "model.pt", ["finetune", mode, "--data", data, *options, *start]
            yield folder / mode / "evaluation.json", [*judge, "--from", str(folder / mode / "model.pt")]

    def record(self, work: Path, error: str | None) -> dict[str, Any]:
        """Return the record of the cell from its folder: accuracies in [0, 1], seconds, the loss of the last epoch."""
        folder = self.folder(work)
        log = [json.loads(line) for line in _text(folder / "log.jsonl").splitlines()]
        accuracies: dict[str, dict[str, float]] = {}
        for name, path in (("trained", folder), *((mode, folder / mode) for mode in TUNED)):
            if (path / "evaluation.json").exists():
                found = json.loads(_text(path / "evaluation.json"))
                accuracies[name] = {"standard": found["standard"], "pgd20": found["pgd20"]["robust"], "n": found["n"]}
        return {
            "study": self.study, "system": self.system, "selector": self.selector, "seed": self.seed, "error": error,
            "accuracy": accuracies, "epochs": len(log), "loss": log[-1]["loss"] if log else None,
            "train_seconds": sum(r["seconds"] for r in log), "select_seconds": sum(r["select_seconds"] for r in log),
            "seen": log[-1]["seen"] if log else None,
            "trouble": sorted({words.split(" (")[0] for r in log for words in r["trouble"]}),
        }  # fmt: skip


def run(cell: Cell, work: Path, data: str) -> dict[str, Any]:
    """Run the remaining steps of a cell, and return its record with all its commands."""
    commands, error = [], None
    for left, command in cell.steps(work, data):
        plain = ["DATA" if word == data else word.replace(str(work), "WORK") for word in command]
        commands.append(" ".join(["coreselect", *plain]))
        if error is not None or left.exists():
            continue
        print(commands[-1], file=sys.stderr, flush=True)
        left.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([sys.executable, "-m", "coreselect.cli", *command], capture_output=True, text=True)
        if done.returncode:
            error = f"{command[0]}: exit code {done.returncode}: {' '.join(done.stderr.split()[-40:])}"
        elif left.suffix == ".json":
            left.write_text(done.stdout, encoding="utf-8")
    return {**cell.record(work, error), "commands": commands, "environment": environment()}


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of records: per cent, mean ± standard deviation over seeds, differences to rs2 paired by seed."""
    lines = [
        f"| study | system | method | seeds | judged | standard % | PGD-20 % | PGD-20 − {REFERENCE} | train s | select s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups = dict.fromkeys((r["study"], r["system"]) for r in records)
    for study, system in groups:
        mine = [r for r in records if (r["study"], r["system"]) == (study, system) and r["error"] is None]
        for judged, selector in product(("trained", *TUNED), dict.fromkeys(r["selector"] for r in mine)):
            rows = {r["seed"]: r for r in mine if r["selector"] == selector and judged in r["accuracy"]}
            base = {r["seed"]: r for r in mine if r["selector"] == REFERENCE and judged in r["accuracy"]}
            if not rows:
                continue
            robust = {seed: 100 * r["accuracy"][judged]["pgd20"] for seed, r in rows.items()}
            less = [v - 100 * base[seed]["accuracy"][judged]["pgd20"] for seed, v in robust.items() if seed in base]
            cells = [
                study, system, selector, str(len(rows)), judged,
                spread([100 * r["accuracy"][judged]["standard"] for r in rows.values()]), spread(list(robust.values())),
                "-" if selector == REFERENCE or not less else spread(less, "+"),
                f"{statistics.mean(r['train_seconds'] for r in rows.values()):.0f}",
                f"{statistics.mean(r['select_seconds'] for r in rows.values()):.0f}",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], sign: str = "") -> str:
    """Write a mean, and the standard deviation of more than one value."""
    mean = f"{statistics.mean(values):{sign}.1f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1f}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named studies with one JSON line for each cell, or print the table of a file of such lines."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipelines", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("study", nargs="*", choices=[*STUDIES, []], help=", ".join(STUDIES))
    parser.add_argument("--data", default=os.environ.get("CORESELECT_DATA", "data/cifar10"), help="CIFAR-10")
    parser.add_argument("--work", type=Path, default=Path("out/pipelines"), help="where runs are kept")
    parser.add_argument("--out", type=Path, help="write the lines here, in place of what is there")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of a file's lines")
    args = parser.parse_args(argv)
    if args.table is not None:
        print(table([json.loads(line) for line in _text(args.table).splitlines()]))
        return 0
    records = []
    for name in args.study:
        study = STUDIES[name]
        for selector, seed, system in product(study.selectors, study.seeds, study.systems):
            records.append(run(Cell(name, system, selector, seed), args.work, args.data))
            print(json.dumps(records[-1]), flush=True)
            if args.out is not None:
                args.out.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return 0 if all(r["error"] is None for r in records) else 1


if __name__ == "__main__":
    raise SystemExit(main())
