"""How good are the picks when validation is attacked once, or again every few picks, and what does that cost?

    python -m benchmarks.recraft --data out/data/cifar10 --arch small --seeds 0 1 2 --validation 50 500 > lines.jsonl
    python -m benchmarks.recraft --table lines.jsonl

Each line of the output is one deal of a pool into groups, for one network and one |U|. Each form of `RCS` chooses from the same
rows, `every` among them, which attacks validation anew at every pick and picks what the plain procedure (`benchmarks.plain`) does.
Quality is that of `benchmarks.selection` with `every` in place of the plain procedure. Sets are valued by the mean of
`--evaluations` attacks that no selection has used. `other starts` is `every` with other random starts of the attacks on
validation: no form can be told from `every` better than that.

All forms read the rows of the pool from a store, which `once` has filled. The time of a form is the processor time of that
first selection, less that of `once` from the store, plus that of the form from the store; relative to the first.
"""

import argparse
import copy
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import problem
from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from benchmarks.selection import HEAD, Set, SetValue, ours, plainly, selector
from coreselect import Task, holdout, select
from coreselect.attacks import PGD
from coreselect.objectives import RD
from coreselect.protocols import Views

RANDOM_SETS_BY = 2  # attacks that value the random sets too, whose mean needs no more
# The two shapes of the declared cases, and smaller ones of a large network. Pools and budgets are whole numbers of groups.
CASES: Mapping[tuple[str, int], SelectionCase] = {
    ("small", 50): SelectionCase(
        pool=4947, validation=50, group_size=51, budget=969, attack=PGD(EPSILON, 2 / 255, 5), warm=WarmUp(5000, 3), thresholds=()
    ),
    ("small", 500): SelectionCase(
        pool=9984, validation=500, group_size=64, budget=1024, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3),
        thresholds=(),
    ),
    ("resnet18", 50): SelectionCase(
        pool=1989, validation=50, group_size=51, budget=408, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(3000, 2),
        random_sets=4, thresholds=(),
    ),
    ("resnet18", 500): SelectionCase(
        pool=1984, validation=500, group_size=64, budget=640, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3),
        random_sets=4, thresholds=(),
    ),
}  # fmt: skip
# values of `recraft`
FORMS: Mapping[str, Any] = {"once": "once", "every 8": 8, "every 4": 4, "every 2": 2, "every": "every"}
OTHER = "other starts"


class Mirrored(PGD):
    """PGD from the opposite random start."""

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        return super().__call__(ascend, inputs, tuple(-start for start in noise))


def measure(
    case: SelectionCase, forms: Mapping[str, Any], *, deals: Sequence[int], evaluations: int, data: str, work: Path
) -> Iterator[dict[str, Any]]:
    """Yield, for each deal, quality and relative processor seconds of each form, `once` and `every` among them.

    Args:
        deals: seeds, each of one deal into groups and of the attacks.
        evaluations: how many attacks value a set.
    """
    model = problem.warmed_up(case.warm, data, work, case.arch)
    pool, validation = holdout(problem.images(data, case.pool + case.validation), size=case.validation, seed=case.seed)
    task = Task.from_model(model, pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size)
    task.fingerprint()
    whole = copy.deepcopy(model).eval().requires_grad_(True)
    for deal in deals:
        own = replace(case, seed=deal)
        sets, seconds = _selected(own, task, forms)
        plain = plainly(own, model, pool, validation, HEAD)
        rows = torch.stack([plain.row(whole, group) for group in plain.groups])
        values = [SetValue(plain, replace(own, seed=deal + 1000 + i), rows) for i in range(evaluations)]
        by_set = {frozenset(zip(*chosen, strict=True)): chosen for chosen in sets.values()}  # in any order
        of_set = {key: float(np.mean([value.rd(chosen) for value in values])) for key, chosen in by_set.items()}
        rd = {name: of_set[frozenset(zip(*chosen, strict=True))] for name, chosen in sets.items()}
        random = float(np.mean([value.of_random_sets() for value in values[:RANDOM_SETS_BY]]))
        best = {*sets["every"][0]}
        yield {"deal": deal, "rd": {"random": random, **rd}} | {
            name: {
                "quality": round((random - rd[name]) / (random - rd["every"]), 4),
                "in common": len({*chosen[0]} & best),
                "seconds": round(seconds[name] / seconds["once"], 3),
            }
            for name, chosen in sets.items()
        }


def _selected(case: SelectionCase, task: Task, forms: Mapping[str, Any]) -> tuple[dict[str, Set], dict[str, float]]:
    """Return the groups that each form chooses, and the processor seconds of the form with its sweep."""
    sets: dict[str, Set] = {}
    seconds: dict[str, float] = {}
    with TemporaryDirectory() as store:

        def choose(form: Any, attack: PGD = case.validation_attack) -> tuple[Set, float]:
            rcs = selector(case, recraft=form, certify=None, objective=RD("kl", attack=attack))
            began = process_time()
            return ours(select(task, rcs, case.budget, case.seed, store=store)), process_time() - began

        _, whole = choose("once")
        for name, form in forms.items():
            sets[name], seconds[name] = choose(form)
        sets[OTHER], seconds[OTHER] = choose("every", Mirrored(**asdict(case.validation_attack)))
    return sets, {name: whole - seconds["once"] + own for name, own in seconds.items()}


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: of each form the quality and the relative time, mean ± standard error over lines of one |U|."""
    cells: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for line in found:
        for name, value in line.items():
            if isinstance(value, Mapping) and "quality" in value:
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
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="beside once and every")
    parser.add_argument("--deals", type=int, default=1, help="of each pool into groups")
    parser.add_argument("--evaluations", type=int, default=2, help="attacks by which a set is valued")
    parser.add_argument("--eta", type=float, default=0.01)
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks"))
    asked = parser.parse_args()
    if asked.table:
        print(table([json.loads(line) for line in asked.table.read_text().splitlines()]))
        return
    forms = {name: form for name, form in FORMS.items() if name in ("once", "every", *asked.forms)}
    for seed in asked.seeds:
        for u in asked.validation:
            own = CASES[asked.arch, u]
            case = replace(own, arch=asked.arch, seed=seed, eta=asked.eta, warm=replace(own.warm, seed=seed))
            line = {"arch": asked.arch, "seed": seed, "validation": u, "eta": asked.eta}
            deals = [seed + 100 * i for i in range(asked.deals)]
            for found in measure(
                case, forms, deals=deals, evaluations=asked.evaluations, data=asked.data, work=asked.work
            ):
                print(json.dumps({**line, **found}), flush=True)


if __name__ == "__main__":
    main()
