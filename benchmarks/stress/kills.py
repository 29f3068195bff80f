"""Works that are killed at random moments, begun again, killed again, and ended: nothing is lost, and the result is the same."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stress.children import command
from benchmarks.stress.jobs import JOBS, half_files, leftovers

MOST = 3  # kills before a work is let to its end


def run(
    kills: int, seed: int, place: Path, jobs: Sequence[str] = tuple(JOBS), minutes: float = 60.0
) -> tuple[Counter[str], list[str]]:
    """Kill so many times over all jobs, or for so long; return counts by outcome, and what went wrong in words."""
    until = time.monotonic() + 60 * minutes
    draw, counts, wrong = random.Random(f"kills {seed}"), Counter[str](), list[str]()
    net = place / "net"
    first = command(JOBS["train"].words(net, net), place) if "finetune" in jobs else None
    if first is not None and first.code:
        return counts, [f"no network to begin with: {first.err[-300:]}"]
    known = {}
    for name in jobs:
        folder = place / name
        whole = command(JOBS[name].words(folder, net), place)
        if whole.code:
            return counts, [f"{name} fails without a kill: {whole.err[-300:]}"]
        known[name] = JOBS[name].result(folder), whole.seconds
    turn = 0
    while counts["killed"] < kills and time.monotonic() < until:
        name, folder = jobs[turn % len(jobs)], place / "killed"
        turn += 1
        shutil.rmtree(folder, ignore_errors=True)
        wrong += _one(name, folder, net, known[name], min(MOST, kills - counts["killed"]), draw, counts, place)
        if turn > 20 * kills:
            wrong.append("hardly any kill comes before the end")
            break
    return counts, wrong


def _one(
    name: str, folder: Path, net: Path, known: tuple[object, float], most: int, draw: random.Random,
    counts: Counter[str], place: Path,
) -> list[str]:  # fmt: skip
    """Kill one work up to `most` times, and let it end."""
    expected, seconds = known
    words, wrong = JOBS[name].words(folder, net), []
    folder.mkdir()

    def noted(outcome: str, why: str) -> None:
        counts[outcome] += 1
        wrong.append(f"{name}: {outcome}: {why}")

    for _ in range(draw.randint(1, most)):
        ended = command(words, place, kill_after=draw.uniform(0, 1.05) * seconds)
        if ended.code != -9:
            counts["ended before the kill"] += 1
            break
        counts["killed"] += 1
        for why in half_files(folder):
            noted("half file", why)
        if ended.trace:
            noted("traceback", ended.err[-300:])
    ended = command(words, place)
    if ended.hung:
        noted("hang", f"{ended.seconds:.0f} s")
    elif ended.code or ended.trace:
        noted("traceback" if ended.trace else "refused to go on", ended.err[-300:])
    elif JOBS[name].result(folder) != expected:
        noted("difference", "the result is another than without kills")
    else:
        counts["same result"] += 1
    for path in leftovers(folder):
        noted("left behind", path)
    return wrong
