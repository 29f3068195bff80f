"""Run declared cases: one JSON line for each case on stdout (and appended to `--out`), other messages on stderr.

    python -m benchmarks.run --case sweep-small --data DIR --out FILE

Of several cases, those whose data or rivals are not given are left out, and the last lines say which.

Exit code 0: every threshold holds; 1: a threshold does not hold or a case failed, which is recorded; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import environment
from benchmarks.case_types import Case
from benchmarks.cases import CASES, SETS
from benchmarks.measuring import lacking, measured

Measure = Callable[[Case, argparse.Namespace], dict[str, Any]]
DEFAULT_DATA = "data/cifar10"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and return the exit code."""
    args = parser().parse_args(argv)
    names = [name for asked in args.case for name in SETS.get(asked, (asked,))]
    results, left_out = [], {name: lacking(CASES[name], args) for name in names if len(names) > 1}
    for name in names:
        if left_out.get(name):
            continue
        # with several cases, each has its own process, so memory starts fresh and a process that dies is a result
        result = in_own_process(name, args) if len(names) > 1 else result_of(name, args, measured)
        print(publish(result, args.out), flush=True)
        results.append(result)
    for result in results:
        print(verdict(result), file=sys.stderr)
    for why in dict.fromkeys(filter(None, left_out.values())):
        some = [name for name, reason in left_out.items() if reason == why]
        print(without_local_names(f"left out {', '.join(some)}: {why}", args), file=sys.stderr)
    return 0 if results and all(result["passed"] for result in results) else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").split("\n", 1)[0])
    out.add_argument(
        "--case", nargs="+", required=True, choices=[*CASES, *SETS], metavar="NAME",
        help=f"cases, or a set of them: {', '.join([*SETS, *CASES])}",
    )  # fmt: skip
    out.add_argument(
        "--data", metavar="DIR", default=os.environ.get("CORESELECT_DATA", DEFAULT_DATA),
        help="CIFAR-10: a folder with images_train.npy and labels_train.npy, or as published (default: CORESELECT_DATA, "
        f"else {DEFAULT_DATA} unpacked)",
    )  # fmt: skip
    out.add_argument(
        "--rivals", metavar="PYTHON", default=os.environ.get("CORESELECT_RIVALS"),
        help="an interpreter that has apricot-select and submodlib-py, for facility cases (default: CORESELECT_RIVALS)",
    )  # fmt: skip
    out.add_argument("--out", metavar="FILE", type=Path, help="append the JSON lines to this file")
    out.add_argument(
        "--work", metavar="DIR", type=Path, default=Path("out/benchmarks"), help="checkpoints and rows are kept here"
    )
    out.add_argument(
        "--device", metavar="NAME", default="cpu", help="of the sweep, selection, attack and views cases (default: cpu)"
    )
    out.add_argument("--threads", type=int, metavar="N", help="torch threads (default: torch's own choice)")
    return out


def result_of(name: str, args: argparse.Namespace, measured: Measure) -> dict[str, Any]:
    """Run one case and check its thresholds; an error becomes part of the result."""
    case = CASES[name]
    if args.threads:
        torch.set_num_threads(args.threads)
    surroundings, load_before = environment.environment(), environment.load()
    measures: dict[str, Any] = {}
    error = None
    try:
        measures = measured(case, args)
    except Exception as why:  # any error is a result
        traceback.print_exc(file=sys.stderr)
        error = without_local_names(f"{type(why).__name__}: {why}", args)
    return to_result(name, case, measures, error, {**surroundings, "load": [load_before, environment.load()]})


def to_result(
    name: str, case: Case, measures: dict[str, Any], error: str | None, surroundings: dict[str, Any]
) -> dict[str, Any]:
    """Compare measures with the thresholds of a case and return the result; a missing measure fails."""
    thresholds = []
    for t in case.thresholds:
        value = _look_up(measures, t.measure)
        thresholds.append({**asdict(t), "value": value, "passed": t.holds(value)})
    settings = {k: v for k, v in asdict(case).items() if k != "thresholds"}
    return {
        "case": name,
        "kind": case.kind,
        "passed": error is None and all(t["passed"] for t in thresholds),
        "thresholds": thresholds,
        **measures,
        "settings": settings,
        "environment": surroundings,
        "error": error,
    }


def in_own_process(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one case in its own process and return its result; if the process dies, the result says so."""
    words = [sys.executable, "-m", "benchmarks.run", "--case", name, "--data", args.data, "--work", str(args.work)]
    words += ["--threads", str(args.threads)] if args.threads else []
    words += ["--device", args.device] if args.device != "cpu" else []
    words += ["--rivals", args.rivals] if args.rivals else []
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=None, text=True)
    lines = done.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        died = f"the process ended with {done.returncode} and no result"
        return to_result(name, CASES[name], {}, died, environment.environment())


def publish(result: dict[str, Any], out: Path | None) -> str:
    """Return the result as a JSON line, and append it to the file `out` if it is given."""
    line = json.dumps(plain_values(result), ensure_ascii=False, allow_nan=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return line


def verdict(result: dict[str, Any]) -> str:
    """Write the result in one line."""
    said = [f"{t['measure']} {_number(t['value'])} ({t['rule']} {t['bound']:g})" for t in result["thresholds"]]
    return f"{'passed' if result['passed'] else 'FAILED'}  {result['case']}: {result['error'] or '; '.join(said) or 'no threshold'}"


def without_local_names(text: str, args: argparse.Namespace) -> str:
    """Replace names of local folders in a message."""
    for folder, name in (
        (str(args.data), "DATA"),
        (os.path.abspath(args.data), "DATA"),
        (os.path.abspath(args.work), "WORK"),
        (args.rivals or "", "RIVALS"),
        (os.getcwd(), "."),
        (os.path.expanduser("~"), "~"),
    ):
        text = text.replace(folder, name) if len(folder) > 1 else text
    return " ".join(text.split())


def _look_up(measures: dict[str, Any], dotted: str) -> float | None:
    here: Any = measures
    for word in dotted.split("."):
        here = here.get(word) if isinstance(here, dict) else None
    return None if here is None else float(here)


def plain_values(value: Any) -> Any:
    """Replace NaN and infinity by null, as JSON has no words for them, and round to 8 digits."""
    if isinstance(value, dict):
        return {k: plain_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
