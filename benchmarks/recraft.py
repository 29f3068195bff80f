"""How good are the picks when validation is attacked once, or again every few picks, and what does that cost?

    python -m benchmarks.recraft --data out/data/cifar10 --arch small --seeds 0 1 2 --validation 50 500 > lines.jsonl
    python -m benchmarks.recraft --table lines.jsonl

Each line of the output is one network and one |U|. The plain procedure (`benchmarks.plain`), which attacks validation anew at
every pick, chooses; then each form of `RCS` chooses from the same rows. Quality is that of `benchmarks.selection`, its sets
valued by the mean of `--evaluations` attacks that no selection has used. `other starts` is the plain procedure again with other
random starts of the attacks on validation: no form can be told from the plain procedure better than it can be told from itself.

All forms read the rows of the pool from a store, which `once` has filled. The time of a form is the processor time of that
first selection, less that of `once` from the store, plus that of the form from the store; relative to the first.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks import problem
from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from benchmarks.meter import Interleaved, Meter
from benchmarks.plain import Picked, Plain
from benchmarks.selection import HEAD, Set, SetValue, ours, plainly, selector
from coreselect import Task, holdout, select
from coreselect.attacks import PGD

RANDOM_SETS_BY = 2  # attacks that value the random sets too, whose mean needs no more
CASES: Mapping[tuple[str, int], SelectionCase] = {  # the two shapes of the declared cases, and smaller ones of a large network
    ("small", 50): SelectionCase(
        pool=4950, validation=50, group_size=51, budget=990, attack=PGD(EPSILON, 2 / 255, 5), warm=WarmUp(5000, 3), thresholds=()
    ),
    ("small", 500): SelectionCase(
        pool=10_000, validation=500, group_size=64, budget=1000, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3),
        thresholds=(),
    ),
    ("resnet18", 50): SelectionCase(
        pool=2000, validation=50, group_size=51, budget=400, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(3000, 2),
        random_sets=10, thresholds=(),
    ),
    ("resnet18", 500): SelectionCase(
        pool=2000, validation=500, group_size=64, budget=640, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(3000, 2),
        random_sets=6, thresholds=(),
    ),
}  # fmt: skip
# values of `recraft`
FORMS: Mapping[str, Any] = {"once": "once", "every 8": 8, "every 4": 4, "every 2": 2, "every": "every"}


def measure(
    case: SelectionCase, forms: Mapping[str, Any], *, evaluations: int, data: str, work: Path
) -> dict[str, Any]:
    """Return quality and relative processor seconds of each form, `once` among them; sets are valued by so many attacks."""
    model = problem.warmed_up(case.warm, data, work, case.arch)
    pool, validation = holdout(problem.images(data, case.pool + case.validation), size=case.validation, seed=case.seed)
    plain = plainly(case, model, pool, validation, HEAD)
    picked = finished(plain)
    values = [SetValue(plain, replace(case, seed=case.seed + 1000 + i), picked.rows) for i in range(evaluations)]

    def rd(chosen: Set) -> float:
        return float(np.mean([value.rd(chosen) for value in values]))

    best = (picked.order, picked.kept)
    random = float(np.mean([value.compare(best, best)["rd"]["random_mean"] for value in values[:RANDOM_SETS_BY]]))
    of_best = rd(best)

    def compared(chosen: Set) -> dict[str, Any]:
        quality = (random - rd(chosen)) / (random - of_best)
        return {"quality": round(quality, 4), "in common": len({*chosen[0]} & {*picked.order})}

    other = finished(plainly(case, model, pool, validation, HEAD, "other validation attack"), picked.rows)
    found: dict[str, Any] = {"random": random, "plain": of_best, "other starts": compared((other.order, other.kept))}

    task = Task.from_model(model, pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size)
    task.fingerprint()

    def chosen(recraft: Any, store: str) -> tuple[Set, float]:
        began = process_time()
        selection = select(task, selector(case, recraft=recraft, certify=None), case.budget, case.seed, store=store)
        return ours(selection), process_time() - began

    with TemporaryDirectory() as store:
        _, whole = chosen(forms["once"], store)
        stored = {name: chosen(form, store) for name, form in forms.items()}
    for name, (picks, seconds) in stored.items():
        found[name] = {**compared(picks), "seconds": round((whole - stored["once"][1] + seconds) / whole, 3)}
    return found


def finished(plain: Plain, rows: Tensor | None = None) -> Picked:
    """Return the picks of the plain procedure."""
    with Meter() as meter:
        return Interleaved(plain.choose(rows), meter, "plain").finish()


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: of each form the quality and the relative time, mean ± standard error over lines of one |U|."""
    cells: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for line in found:
        for name, value in line.items():
            if isinstance(value, Mapping):
                cells[name, line["validation"]].append(value)
    sizes = sorted({size for _, size in cells})
    heads = ["", *(f"\\|U\\| = {u}, {what}" for u in sizes for what in ("quality", "time"))]
    lines = [heads, ["---"] * len(heads)]
    for name in dict.fromkeys(name for name, _ in cells):
        row = [name]
        for u in sizes:
            there = cells[name, u]
            row.append(spread([value["quality"] for value in there]))
            seconds = [value["seconds"] for value in there if "seconds" in value]
            row.append(f"{np.mean(seconds):.2f}" if seconds else "-")
        lines.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard error (number)."""
    if len(values) < 2:
        return f"{values[0]:.3f} (1)" if values else "-"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.3f} ({len(values)})"


def main() -> None:
    """Measure each network and size, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--table", type=Path, help="print the table of a file of lines, and measure nothing")
    parser.add_argument("--arch", default="small", choices=sorted({arch for arch, _ in CASES}))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--validation", type=int, nargs="+", default=[50, 500], choices=sorted({u for _, u in CASES}))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="beside once")
    parser.add_argument("--evaluations", type=int, default=8, help="attacks by which a set is valued")
    parser.add_argument("--eta", type=float, default=0.01)
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks"))
    asked = parser.parse_args()
    if asked.table:
        print(table([json.loads(line) for line in asked.table.read_text().splitlines()]))
        return
    forms = {name: form for name, form in FORMS.items() if name in ("once", *asked.forms)}
    for seed in asked.seeds:
        for u in asked.validation:
            own = CASES[asked.arch, u]
            case = replace(own, arch=asked.arch, seed=seed, eta=asked.eta, warm=replace(own.warm, seed=seed))
            line = {"arch": asked.arch, "seed": seed, "validation": u, "eta": asked.eta}
            found = measure(case, forms, evaluations=asked.evaluations, data=asked.data, work=asked.work)
            print(json.dumps({**line, **found}), flush=True)


if __name__ == "__main__":
    main()
