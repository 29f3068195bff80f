"""How good are the picks when validation is attacked once, or again every few picks, and what does that cost?

    python -m benchmarks.recraft --data out/data/cifar10 --arch small --seeds 0 1 2 --validation 50 500 > lines.jsonl
    python -m benchmarks.recraft --table lines.jsonl

Each line of the output is one deal of a pool into groups, for one network and one |U|. Greedy search chooses from the same rows
with each value of `recraft`. With `every`, which attacks validation anew at every pick, it picks what the plain procedure does.

    quality = (G(form) − G_random) / (G(every) − G_random),    G(S) = −RD(U; θ − η Σ_{m ∈ S} r_m)

Each set S is valued by one attack at its own θ(S), from starts that no selection has used. `other starts` is `every` with other
random starts: no form can be told from `every` better than that. A table has the mean over networks, of the mean over the deals
of each. Pools and budgets are whole numbers of groups: otherwise
quality would depend on the few examples to which the last group is cut.

Time is processor seconds of attack, sweep and search, relative to those of `once`.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import problem
from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from coreselect import Task, holdout
from coreselect.attacks import PGD
from coreselect.gradients.rows import Rows
from coreselect.objectives import RD
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.protocols import Views
from coreselect.search import search
from coreselect.solvers.greedy import greedy
from coreselect.support import seeding
from coreselect.task.groups import deal
from coreselect.task.snapshot import Snapshot

RANDOM_SETS = 4  # of one deal, which serve all of them
# About the two shapes of the declared cases, and smaller ones of a large network.
CASES: Mapping[tuple[str, int], SelectionCase] = {
    ("small", 50): SelectionCase(
        pool=4947, validation=50, group_size=51, budget=969, attack=PGD(EPSILON, 2 / 255, 5), warm=WarmUp(5000, 3), thresholds=()
    ),
    ("small", 500): SelectionCase(
        pool=9984, validation=500, group_size=64, budget=1024, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3),
        thresholds=(),
    ),
    ("resnet18", 50): SelectionCase(
        pool=1989, validation=50, group_size=51, budget=408, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(3000, 2), thresholds=(),
    ),
    ("resnet18", 500): SelectionCase(
        pool=1984, validation=500, group_size=64, budget=640, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3), thresholds=(),
    ),
}  # fmt: skip
FORMS: Mapping[str, Any] = {  # values of `recraft`
    "once": "once", "halfway": "halfway", "every 8": 8, "every 4": 4, "every 2": 2, "every": "every", "other starts": "every",
}  # fmt: skip


@dataclass(frozen=True)
class Rolled(PGD):
    """PGD from the given random start, moved by one place along a dimension: another start in every place."""

    dim: int = field(default=-1, kw_only=True)

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        return super().__call__(ascend, inputs, tuple(start.roll(1, self.dim) for start in noise))


def measure(
    case: SelectionCase, forms: Mapping[str, Any], *, deals: Sequence[int], data: str, work: Path
) -> Iterator[dict[str, Any]]:
    """Yield quality and relative time of each form for each deal of the pool into groups; deals are seeds."""
    model = problem.warmed_up(case.warm, data, work, case.arch)
    pool, validation = holdout(problem.images(data, case.pool + case.validation), size=case.validation, seed=case.seed)
    task = Task.from_model(model, pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size)
    steps = asdict(case.validation_attack)
    about = {"arch": case.arch, "seed": case.seed, "validation": case.validation, "eta": case.eta}
    with task.snapshot(case.seed, 0) as snapshot:
        began = process_time()
        own = snapshot.objective(RD("kl", attack=case.validation_attack))
        first = _rows(snapshot, case, deals[0])  # it sweeps the pool, and rows of other groups are made from that
        prepared = process_time() - began
        theta, judge = snapshot.theta(), snapshot.objective(RD("kl", attack=Rolled(**steps, dim=-1)))
        random = _random_rd(judge, first, theta, case)
        for seed in deals:
            rows = _rows(snapshot, case, seed)
            orders: dict[str, tuple[int, ...]] = {}
            seconds: dict[str, float] = {}
            rd: dict[frozenset[int], float] = {}
            for name, form in forms.items():
                objective = (
                    snapshot.objective(RD("kl", attack=Rolled(**steps, dim=-2))) if name == "other starts" else own
                )
                began = process_time()
                trace, end = greedy(
                    rows, objective, search("exact", rows), theta=theta, eta=case.eta, budget=case.budget, recraft=form
                )
                seconds[name] = prepared + process_time() - began
                objective.return_to_start()
                orders[name], chosen = trace.order, frozenset(trace.order)
                if chosen not in rd:
                    rd[chosen] = _rd(judge, end)
            best = frozenset(orders["every"])
            gain = random - rd[best]
            yield {**about, "deal": seed, "rd": {"random": random, "every": rd[best]}} | {
                name: {
                    "quality": round((random - rd[frozenset(order)]) / gain, 4) if gain > 0 else math.nan,
                    "in common": len(best & {*order}),
                    "seconds": round(seconds[name] / seconds["once"], 3),
                }
                for name, order in orders.items()
            }


def _rows(snapshot: Snapshot, case: SelectionCase, seed: int) -> Rows:
    return snapshot.rows(deal(case.pool, case.group_size, seeding.generator(seed, "groups", 0)))[0]


def _rd(judge: ValidationObjective, theta: Tensor) -> float:
    """Return RD at θ, attacked there, always from the same starts."""
    judge.return_to_start()
    return judge.recrafted_value(theta)


def _random_rd(judge: ValidationObjective, rows: Rows, theta: Tensor, case: SelectionCase) -> float:
    """Return the mean RD after steps along random sets."""
    draw = seeding.generator(case.seed, "random sets")
    sets = [torch.randperm(rows.count, generator=draw)[: case.budget // case.group_size] for _ in range(RANDOM_SETS)]
    steps = [torch.stack([rows.full(m, None) for m in chosen.tolist()]).sum(0) for chosen in sets]
    return float(np.mean([_rd(judge, theta - case.eta * step) for step in steps]))


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: of each form the quality and the relative time, mean ± standard error over networks."""
    cells: dict[tuple[str, int], dict[int, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in found:
        for name in line.keys() & FORMS.keys():
            cells[name, line["validation"]][line["seed"]].append(line[name])
    sizes = sorted({size for _, size in cells})
    heads = ["", *(f"\\|U\\| = {u}, {what}" for u in sizes for what in ("quality", "time"))]
    lines = [heads, ["---"] * len(heads)]
    for name in (name for name in FORMS if any((name, u) in cells for u in sizes)):
        row = [name]
        for u in sizes:
            networks = cells[name, u].values()
            row.append(spread([float(np.mean([value["quality"] for value in deals])) for deals in networks]))
            row.append(
                f"{np.mean([value['seconds'] for deals in networks for value in deals]):.2f}" if networks else "-"
            )
        lines.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard error (number)."""
    if len(values) < 2:
        return f"{values[0]:.3f} (1)" if values else "-"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.3f} ({len(values)})"


def main() -> None:
    """Measure each network and size, and print a line for each deal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--table", type=Path, help="print the table of a file of lines, and measure nothing")
    parser.add_argument("--arch", default="small", choices=sorted({arch for arch, _ in CASES}))
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="each of a network, a pool and its validation"
    )
    parser.add_argument("--deals", type=int, default=1, help="of each pool into groups")
    parser.add_argument("--validation", type=int, nargs="+", default=[50, 500], choices=sorted({u for _, u in CASES}))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="beside once and every")
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
            deals = [100 * seed + i for i in range(asked.deals)]
            for found in measure(case, forms, deals=deals, data=asked.data, work=asked.work):
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
