"""A sitting: sections run one after the other until the time is over, and each is one JSON line, also if it fails."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.run import plain_values

LINES = "gpu.jsonl"
Section = Callable[["Place"], dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """Where a sitting runs.

    Args:
        device: cpu, to try it, or a GPU.
        small: sizes of seconds on a CPU, which say nothing about speed.
        data: CIFAR-10, or `noise`.
        out: the folder of the lines, and of checkpoints.
    """

    device: torch.device
    small: bool
    data: str
    out: Path


def hold(
    sections: Mapping[str, Section],
    place: Place,
    *,
    minutes: float,
    say: Callable[[str], None] = print,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Run the sections in order, and say whether all ran without an error.

    A section that begins before the time is over runs to its end; those after it are lines that say so.
    """
    place.out.mkdir(parents=True, exist_ok=True)
    start, passed = clock(), True
    with (place.out / LINES).open("a", encoding="utf-8") as file:
        for name, section in sections.items():
            began, error = clock(), None
            found: dict[str, Any] = {}
            if began - start >= 60 * minutes:
                error = f"not run: the sitting's {minutes:g} minutes were over"
            else:
                try:
                    found = section(place)
                except Exception as why:  # a failed section is a line, not the end
                    error = " ".join(f"{type(why).__name__}: {why}".split())[:400]
                    found = {
                        "where": [
                            f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(why.__traceback__)[-3:]
                        ]
                    }
            passed = passed and error is None
            line = {"section": name, "took": round(clock() - began, 2), **found, "error": error}
            text = json.dumps(plain_values(line), default=str, allow_nan=False)
            file.write(text + "\n")
            file.flush()
            say(text)
    return passed
