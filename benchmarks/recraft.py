"""How good are the picks when validation is attacked once, by how many draws, and what does that cost?

    python -m benchmarks.recraft --data out/data/cifar10 --arch small --seeds 0 1 2 --validation 50 500

Each line of the output is one network and one |U|. The plain procedure (`benchmarks.plain`), which attacks validation anew at
every pick, chooses; then each form of `RCS` chooses from the same groups. Quality is that of `benchmarks.selection`, its
sets valued by the mean of `EVALUATIONS` attacks that no selection has used. `seconds` are those of the selection without
diagnostics, divided by those of the form that attacks once.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset

from benchmarks import problem
from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from benchmarks.meter import Interleaved, Meter
from benchmarks.selection import HEAD, SetValue, ours, plainly, selector
from coreselect import Task, holdout, select
from coreselect.attacks import PGD

EVALUATIONS = 3  # attacks by which a set is valued
CASES: Mapping[int, SelectionCase] = {  # the two shapes of the declared cases
    50: SelectionCase(
        pool=4950, validation=50, group_size=51, budget=990, attack=PGD(EPSILON, 2 / 255, 5), warm=WarmUp(5000, 3), thresholds=()
    ),
    500: SelectionCase(
        pool=10_000, validation=500, group_size=64, budget=1000, attack=PGD(EPSILON, 10 / 255, 1), warm=WarmUp(5000, 3),
        thresholds=(),
    ),
}  # fmt: skip


def measure(case: SelectionCase, forms: Mapping[str, tuple[int, Any]], *, data: str, work: Path) -> dict[str, Any]:
    """Return quality and relative seconds of each form, (draws of the attack on validation, `recraft`)."""
    model = problem.warmed_up(case.warm, data, work, case.arch)
    pool, validation = holdout(problem.images(data, case.pool + case.validation), size=case.validation, seed=case.seed)
    plain = plainly(case, model, pool, validation, HEAD)
    with Meter() as meter:
        picked = Interleaved(plain.choose(), meter, "plain").finish()
    values = [SetValue(plain, replace(case, seed=case.seed + 1000 + i), picked.rows) for i in range(EVALUATIONS)]
    compared = [value.compare((picked.order, picked.kept), (picked.order, picked.kept))["rd"] for value in values]
    random, best = (float(np.mean([c[name] for c in compared])) for name in ("random_mean", "plain"))
    found: dict[str, Any] = {"random": random, "plain": best}
    for name, (draws, recraft) in forms.items():
        task = Task.from_model(
            model, pool, ConcatDataset([validation] * draws), loss="sat", attack=case.attack, batch_size=case.batch_size
        )
        task.fingerprint()
        began = process_time()
        selection = select(task, selector(case, recraft=recraft, certify=None), case.budget, case.seed)
        seconds = process_time() - began
        chosen = ours(selection)
        of_form = float(np.mean([value.rd(chosen) for value in values]))
        parts = selection.provenance.seconds
        found[name] = {
            "quality": round((random - of_form) / (random - best), 4),
            "in common": len({*chosen[0]} & {*picked.order}), "seconds": seconds,
            "parts": {k: round(v, 2) for k, v in parts.items()},
        }  # fmt: skip
    once = found["once"]["seconds"]
    for name in forms:
        found[name]["seconds"] = round(found[name]["seconds"] / once, 3)
    return found


FORMS: Mapping[str, tuple[int, Any]] = {
    "once": (1, "once"), "2 draws": (2, "once"), "4 draws": (4, "once"), "8 draws": (8, "once"), "16 draws": (16, "once"),
    "every 8": (1, 8), "every 4": (1, 4), "every": (1, "every"),
}  # fmt: skip


def main() -> None:
    """Measure each network and size, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--validation", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--eta", type=float, default=0.01)
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks"))
    asked = parser.parse_args()
    for seed in asked.seeds:
        for u in asked.validation:
            own = CASES[u]
            case = replace(own, arch=asked.arch, seed=seed, eta=asked.eta, warm=replace(own.warm, seed=seed))
            line = {"arch": asked.arch, "seed": seed, "validation": u, "eta": asked.eta}
            print(json.dumps({**line, **measure(case, FORMS, data=asked.data, work=asked.work)}), flush=True)


if __name__ == "__main__":
    main()
