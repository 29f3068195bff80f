"""Try to make commands lose something, believe something, or show a traceback; print counts by outcome.

    python -m benchmarks.stress                             # 200 kills, 2,000 files and the table: about 40 minutes on a core
    python -m benchmarks.stress --kills 4 --files 80        # a small part
    python -m benchmarks.stress --only files --files 20000 --seed 7

Exit code 0: no half file, difference, traceback, hang or code run; 1: one of them, which is said; 2: wrong usage. It forks, so it
needs a POSIX system.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stress import children, files, kills, table
from benchmarks.stress.jobs import JOBS

PARTS = ("table", "files", "kills")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that the command line asks for, and return the exit code."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=(__doc__ or "").split("\n", 1)[0])
    out.add_argument("--kills", type=int, default=200, metavar="N", help="kills over all jobs (default: 200)")
    out.add_argument(
        "--files", type=int, default=2000, metavar="N", help="damaged files over all readers (default: 2000)"
    )
    out.add_argument(
        "--jobs", nargs="+", choices=JOBS, default=list(JOBS), metavar="NAME", help=f"of {', '.join(JOBS)}"
    )
    out.add_argument(
        "--minutes", type=float, default=60.0, metavar="N", help="no work is begun to be killed later (default: 60)"
    )
    out.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    out.add_argument("--seed", type=int, default=0, metavar="N", help="decides the moments and the damages")
    args = out.parse_args(argv)
    children.imported()
    failed = False
    with tempfile.TemporaryDirectory(prefix="coreselect-stress-") as name:
        for part in args.only:
            place, begin = Path(name) / part, time.monotonic()
            place.mkdir()
            if part == "table":
                counts, wrong = table.run(place)
            elif part == "files":
                counts, wrong = files.run(args.files, args.seed, place)
            else:
                counts, wrong = kills.run(args.kills, args.seed, place, args.jobs, args.minutes)
            said = {"part": part, "seconds": round(time.monotonic() - begin, 1), "counts": dict(counts), "wrong": wrong}
            print(json.dumps(said), flush=True)
            failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
