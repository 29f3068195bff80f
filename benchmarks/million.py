"""What the sweep over ImageNet-1K would cost: an estimate from the measured seconds of one image, no measurement of the whole.

    python -m benchmarks.million --data DIR                        this CPU, as it is now
    python -m benchmarks.million --data DIR --device cuda          and this GPU
    python -m benchmarks.million --data DIR --gpu-seconds 0.0004   and a GPU on which someone measured that time for one image

The seconds of one image are those of `coreselect.plan`, which times one batch at 32 px on a ResNet-18. Without a GPU, and without
a number for one, there is no line for GPUs: it would be invented.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import problem
from coreselect import Task, get_selector, holdout, plan
from coreselect.attacks import PGD

IMAGES = 1_281_167  # ImageNet-1K
GPUS = 8
STEPS = (1, 10)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON line for each estimate."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.million", description=(__doc__ or "").split("\n", 1)[0])
    asked.add_argument("--data", required=True, metavar="DIR", help="CIFAR-10, as for benchmarks.run")
    asked.add_argument("--device", default="cpu", help="where the batch is timed")
    asked.add_argument("--pool", type=int, default=512, help="images that are read")
    asked.add_argument("--gpu-seconds", type=float, help="seconds of one image with 10 attack steps, measured on a GPU")
    args = asked.parse_args(argv)
    for line in estimates(args.data, args.device, args.pool, args.gpu_seconds):
        print(json.dumps(line), flush=True)
    return 0


def estimates(data: str, device: str, pool_size: int, gpu_seconds: float | None) -> Iterator[dict[str, Any]]:
    """Yield estimates for one device of the kind that is measured, and for eight GPUs where one was measured."""
    for steps in STEPS:
        one = seconds_of_one_image(data, device, pool_size, steps)
        yield line(device, 1, steps, one, "timed here")
        if device != "cpu":
            yield line(device, GPUS, steps, one, "timed here on one, and divided")
    if gpu_seconds is not None:
        for count in (1, GPUS):
            yield line("a GPU as given", count, STEPS[-1], gpu_seconds, "given")


def seconds_of_one_image(data: str, device: str, pool_size: int, steps: int) -> float:
    """Time one batch of the sweep that a SAT selection by RCS makes; return the seconds of one image."""
    pool, validation = holdout(problem.images(data, pool_size), size=64, seed=0)
    attack = PGD(8 / 255, 2.5 * 8 / 255 / steps, steps)
    task = Task.from_model(
        problem.network().to(device), pool, validation, loss="sat", attack=attack, batch_size=64, device=device
    )
    told = plan(task, get_selector("rcs"), 0.1)
    assert told.seconds is not None  # plans are timed by default
    return told.seconds["sweep"] / len(pool)


def line(device: str, count: int, steps: int, one: float, how: str) -> dict[str, Any]:
    """Return one estimate; ranks share a sweep evenly, so W of them need a W-th of the time."""
    return {
        "estimate": True, "device": device, "devices": count, "images": IMAGES, "side": 32, "attack_steps": steps,
        "seconds_of_one_image": one, "hours_of_the_sweep": IMAGES * one / count / 3600, "seconds_are": how,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
