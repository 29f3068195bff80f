"""Run the comparisons of docs/results by `coreselect compare`, with options that anyone can repeat.

    python -m benchmarks.comparisons sat --data DIR --work DIR --out benchmarks/results/comparisons
    python -m benchmarks.comparisons --table benchmarks/results/comparisons/sat/results.json

A comparison that was killed continues, and keeps its finished cells. Exit code 1 means that a cell failed, which is also
recorded. `--out` gets a folder for each comparison, with its `results.json` and picture. `benchmarks.coarse` writes
`cifar100-coarse`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison_tables import tables

KEPT = ("results.json", "pareto.png")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison; those with one `folder` share warm models and cells. `options` are those of `coreselect compare`.

    The value None means a flag.
    """

    folder: str
    methods: tuple[str, ...]
    options: Mapping[str, object]


_SHARED = {
    "--data": "DATA/cifar10", "--seeds": 3, "--fractions": 0.1, "--validation": 500, "--select-attack-steps": 1, "--num-threads": 1,
}  # fmt: skip
_SMALL = {**_SHARED, "--rows": 5500, "--test-rows": 2000}
_SAT = {"--trainer": "sat", **_SMALL, "--epochs": 18, "--warmup": 3, "--every": 5}
_ELSEWHERE = {"--transfer": "DATA/cifar100-coarse", "--tuning-rows": 2000}
_CONTRASTIVE = {
    **_SMALL, "--epochs": 12, "--warmup": 2, "--every": 5, "--lr": 0.1, "--equal": "epochs,time", "--clock": "cpu", **_ELSEWHERE,
}  # fmt: skip
_RESNET18 = {
    "--trainer": "sat", **_SHARED, "--arch": "resnet18", "--precision": "bf16", "--rows": 5500, "--test-rows": 1000,
    "--epochs": 10, "--warmup": 2, "--every": 4, "--attack-steps": 2, "--clock": "cpu", "--no-full": None,
}  # fmt: skip
_CHEAP = {  # the training attack of `cifar10-sat-fast`; a line that names its own effort has that
    "--attack-steps": 1, "--train-radius": "1.5x", "--lr": 0.1, "--clock": "cpu", "--no-full": None, "--also": "margin",
}  # fmt: skip
_EFFORT = {**_SAT, **_CHEAP, "--test-rows": 2500, "--seeds": 8, "--equal": "time"}
_FASHION = {name: value for name, value in _EFFORT.items() if name != "--also"} | {"--test-rows": 2000}
_AT_BEST = (
    "rs2@1x1.5", "rs2@1x1", "rs2@5x1", "redraw@1x1.5", "rcs@1x1.5", "craig@1x1.5", "facility_location@1x1.5",
    "importance:score=loss@1x1.5",
)  # fmt: skip
_EFFORTS_OF_ACL = ("rs2@5x1", "rs2@1x1", "rs2@1x1.5")
_ACL_AT_BEST = ("rs2@1x1.5", "redraw@1x1.5", "rcs@1x1.5", "importance@1x1.5")
_CONTRASTIVE_EFFORT = {
    **{name: value for name, value in _CONTRASTIVE.items() if name != "--transfer"}, "--seeds": 6, "--equal": "time",
    "--no-full": None,
}  # fmt: skip
_CONTRASTIVE_FASHION = {**_CONTRASTIVE_EFFORT, "--data": "DATA/fashion_mnist", "--radius": 0.1}
_IMPURE = {**_SAT, **_CHEAP, "--seeds": 5, "--equal": "epochs,time"}
_POOLS: Mapping[str, Mapping[str, object]] = {
    "pool-tail": {"--rows": 15_200, "--pool": "tail=20"},
    "pool-wrong": {"--pool": "labels-wrong=0.4"},
    "pool-foreign": {"--pool": "foreign=0.5:DATA/cifar100"},
    "pool-duplicates": {"--pool": "duplicates=10"},
    "pool-tail-wrong": {"--rows": 15_200, "--pool": "tail=20,labels-wrong=0.4"},
}
_FREE = ("rs2", "rs2:balance=labels", "validation_only", "rs2+validation")
_GUIDED = ("gradmatch:target=validation", "acs_gradmatch:target=validation")
_SCREENED = (  # what is guided by validation images, two geometries, two filters; at equal epochs, which charge no selection
    "rs2", "rs2:balance=labels", "validation_only", "rcs", "rcs:objective=adversarial_ce", "glister", "less",
    "facility_location", "semdedup", "rs2:filter=0.6:side=true", "rs2:filter=0.6",
)  # fmt: skip
_SCREEN = {"--seeds": 3, "--equal": "epochs"}
_FRESH = {"--seeds": "3:6", "--no-full": None}  # for what a comparison with seeds 0 to 2 seemed to show
_UNLABELLED = ("rs2", "redraw", "random", "rcs", "rcs:capture=all", "rcs:objective=js", "rcs+redraw", "importance")

COMPARISONS: Mapping[str, Comparison] = {
    "sat": Comparison(
        "sat",
        ("rs2", "redraw", "random", "rcs", "craig", "gradmatch", "el2n", "k_center", "facility_location", "glister"),
        {**_SAT, "--fractions": "0.05,0.1", "--equal": "epochs"},
    ),
    "sat-variants": Comparison(
        "sat",
        (
            "rs2", "redraw", "random", "rcs", "craig", "rcs:capture=all", "rcs:objective=adversarial_ce",
            "rcs:objective=ce_plus_rd", "rcs_sampled", "rcs+redraw", "importance:score=el2n", "importance:score=loss",
        ),
        {**_SAT, "--equal": "epochs"},
    ),
    "sat-time": Comparison(
        "sat-time",
        ("rs2", "craig", "facility_location", "rcs", "rcs:objective=adversarial_ce", "importance:score=loss"),
        {**_SAT, "--equal": "epochs,time", "--clock": "cpu", "--no-full": None},
    ),
    "sat-transfer": Comparison(
        "sat-transfer",
        (
            "rs2", "redraw", "random", "rcs", "craig", "rcs:capture=all", "rcs:objective=adversarial_ce", "rcs+redraw",
            "importance:score=loss",
        ),
        {**_SAT, "--clock": "cpu", "--judged": "trained,slf,alf", **_ELSEWHERE},
    ),
    "sat-resnet18": Comparison("sat-resnet18", ("rs2", "redraw", "rcs", "craig"), _RESNET18),
    "sat-resnet18-fresh": Comparison(
        "sat-resnet18-fresh", ("rs2", "craig"), {**_RESNET18, **_FRESH, "--equal": "epochs,time"}
    ),
    "sat-tail": Comparison(
        "sat-tail",
        ("rs2", "rs2:balance=labels", "validation_only", "rs2+validation"),
        {
            "--trainer": "sat", "--data": "DATA/cifar10", "--seeds": 3, "--fractions": 0.1, "--rows": 15_200, "--test-rows": 2000,
            "--validation": 500, "--pool": "tail=20", "--no-full": None, "--epochs": 30, "--clock": "cpu", "--num-threads": 1,
        },
    ),
    "sat-recorded": Comparison(
        "sat-recorded",
        ("rs2", "redraw", "rcs", "rcs:rows=recorded"),
        {**_SAT, "--fractions": 0.05, "--equal": "epochs", "--clock": "cpu", "--no-full": None},
    ),
    "sat-recorded-published": Comparison(  # |U| is 1 % of the images, as published, where it is 9 % in the others
        "sat-recorded-published",
        ("rs2", "rcs", "rcs:rows=recorded"),
        {**_SAT, "--rows": 5000, "--validation": 50, "--fractions": 0.05, "--clock": "cpu", "--no-full": None},
    ),
    "sat-effort": Comparison("sat-effort", _AT_BEST, _EFFORT),
    "sat-effort-fashion": Comparison(
        "sat-effort-fashion", (_AT_BEST[0], *_AT_BEST[2:]), {**_FASHION, "--data": "DATA/fashion_mnist", "--radius": 0.1}
    ),
    "acl-effort": Comparison("acl-effort", _EFFORTS_OF_ACL, {"--trainer": "acl", **_CONTRASTIVE_EFFORT}),
    "acl-effort-fashion": Comparison("acl-effort-fashion", _EFFORTS_OF_ACL, {"--trainer": "acl", **_CONTRASTIVE_FASHION}),
    "acl-tail": Comparison(
        "acl-tail",
        ("rs2", "rs2:balance=clusters", "rs2:balance=labels"),
        {
            "--trainer": "acl", **_CONTRASTIVE_EFFORT, "--seeds": 4, "--equal": "epochs", "--rows": 15_200, "--pool": "tail=20",
        },
    ),
    "acl-selectors": Comparison(
        "acl-selectors", _ACL_AT_BEST, {"--trainer": "acl", **_CONTRASTIVE_EFFORT, "--equal": "epochs"}
    ),
    "dynacl-air-effort": Comparison(
        "dynacl-air-effort", _EFFORTS_OF_ACL, {"--trainer": "dynacl-air", **_CONTRASTIVE_EFFORT}
    ),
    "dynacl-air-effort-fashion": Comparison(
        "dynacl-air-effort-fashion", _EFFORTS_OF_ACL, {"--trainer": "dynacl-air", **_CONTRASTIVE_FASHION}
    ),
    **{name: Comparison(name, (*_FREE, *_GUIDED), _IMPURE | pool) for name, pool in _POOLS.items()},
    **{f"{name}-screen": Comparison(name, _SCREENED, _IMPURE | pool | _SCREEN) for name, pool in _POOLS.items()},
    "acl": Comparison("acl", _UNLABELLED, {"--trainer": "acl", **_CONTRASTIVE}),
    "dynacl-air": Comparison("dynacl-air", _UNLABELLED, {"--trainer": "dynacl-air", **_CONTRASTIVE}),
    "dynacl-air-fresh": Comparison(
        "dynacl-air-fresh",
        ("rs2", "random"),
        {"--trainer": "dynacl-air", **_CONTRASTIVE, **_FRESH, "--epochs": 38, "--equal": "epochs"},
    ),
}  # fmt: skip


def command(name: str, work: Path, data: str) -> list[str]:
    """Return the words after `coreselect` that run a comparison; without `data`, in the folder that holds the data."""
    what = COMPARISONS[name]
    words = ["compare", "--out", str(work / what.folder), "--selectors", ",".join(what.methods)]
    for option, value in what.options.items():
        words += [option] if value is None else [option, str(value).replace("DATA/", data and f"{data}/")]
    return words


def run(name: str, work: Path, data: str, out: Path) -> bool:
    """Run or continue a comparison and keep its results; return whether every cell finished."""
    print(" ".join(["coreselect", *command(name, Path("WORK"), "DATA")]), file=sys.stderr, flush=True)
    left = work / COMPARISONS[name].folder
    for part in KEPT:  # another comparison of this folder may have left its files
        (left / part).unlink(missing_ok=True)
    words = [sys.executable, "-m", "coreselect.cli", *command(name, work.resolve(), "")]
    # there, so that neither results nor picture name a folder
    done = subprocess.run(words, stdout=subprocess.DEVNULL, cwd=data)
    if (left / KEPT[0]).exists():
        (out / name).mkdir(parents=True, exist_ok=True)
        for part in (part for part in KEPT if (left / part).exists()):  # without matplotlib there is no picture
            shutil.copy(left / part, out / name / part)
    return done.returncode == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named comparisons, or print the tables of one."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comparisons", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("name", nargs="*", choices=[*COMPARISONS, []], help=", ".join(COMPARISONS))
    parser.add_argument(
        "--data",
        default="data",
        help="the folder that holds cifar10, and for those that judge elsewhere cifar100-coarse",
    )
    parser.add_argument("--work", type=Path, default=Path("out/comparisons"), help="where cells are kept")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/comparisons"), help="gets results and pictures"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of a results.json")
    args = parser.parse_args(argv)
    data = args.data.rstrip("/")
    if args.table is not None:
        records = json.loads(args.table.read_text(encoding="utf-8"))["records"]
        print("\n\n".join(tables(records)))
        return 0
    if args.name and not Path(data).is_dir():
        parser.error(f"there is no folder {data}: --data is the folder that holds cifar10.")
    whole = [run(name, args.work, data, args.out) for name in args.name]
    return 0 if all(whole) else 1


if __name__ == "__main__":
    raise SystemExit(main())
