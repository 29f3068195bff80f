"""Measure a GPU in one bounded sitting: one JSON line for each section, on stdout and in `OUT/gpu.jsonl`.

    python -m benchmarks.gpu --device cuda --data DIR --out DIR
    python -m benchmarks.gpu --device cpu --small --out DIR        # tries all of it in a minute or two

Exit code 0: every section ran; 1: a section failed or was not reached, which is a line too; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.sitting import Place, hold
from benchmarks.problem import NOISE
from coreselect.errors import RequirementError
from coreselect.support.devices import usable_device


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections that the command line asks for, and return the exit code."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n", 1)[0])
    out.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try it (default: cuda)")
    out.add_argument("--small", action="store_true", help="sizes of seconds on a CPU, which say nothing about speed")
    out.add_argument("--data", default=NOISE, metavar="DIR", help="CIFAR-10; without it images are noise")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the lines")
    out.add_argument("--minutes", type=float, default=10.0, metavar="N", help="no section begins later (default: 10)")
    out.add_argument(
        "--sections", nargs="+", choices=SECTIONS, metavar="NAME", help=f"only these of {', '.join(SECTIONS)}"
    )
    args = out.parse_args(argv)
    try:
        device = usable_device(args.device)
    except RequirementError as why:
        out.error(str(why))
    sections = {name: SECTIONS[name] for name in args.sections or SECTIONS}
    return 0 if hold(sections, Place(device, args.small, args.data, args.out), minutes=args.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
