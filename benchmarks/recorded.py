"""How near are rows from recorded features to fresh ones, as they grow older, and what do they cost?

    python -m benchmarks.recorded --data out/data/cifar10

A small network trains by SAT: some epochs on the whole pool, then on a share of it, re-drawn in each epoch. After each epoch from
the last of the warm-up on, RCS chooses as many from the same groups twice: from fresh rows, by one attack step on the whole pool,
and from recorded rows, which have seen the attack of training. Each line of the output is one epoch:

    age       epochs since training saw an example, on average
    overlap   groups in common ÷ groups picked
    gain      Σ fresh gains of its picks, above a random subset's, ÷ those of the fresh picks above the same
    seconds   processor seconds of a selection from recorded rows ÷ from fresh ones
    cost      processor seconds of a selection from recorded rows ÷ those of training on the share for `--interval` epochs
"""

import argparse
import json
from time import process_time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from benchmarks import problem
from coreselect import History, Indexed, Selection, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.selectors import RCS, RS2
from coreselect_integrations.networks import build, route_call
from coreselect_integrations.systems import sat

RADIUS = 8 / 255
GROUP = 16


def measure(
    data: str,
    *,
    pool: int,
    validation: int,
    share: float,
    epochs: int,
    warmup: int,
    steps: int,
    interval: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Train by an attack of so many steps, select twice after each epoch, and return one record an epoch."""
    attack = PGD(RADIUS, 2.5 * RADIUS / steps, steps)
    images, held = holdout(problem.images(data, pool + validation), validation, seed)
    network = build("small", "sat", channels=3, size=32, classes=10, seed=seed)
    history = History(len(images), features=True)
    task = Task.from_model(
        network, images, held, loss="sat", attack=PGD(RADIUS, 1.25 * RADIUS, 1), call=route_call, history=history
    )
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    seen = np.full(len(images), -1)
    records = []
    for epoch in range(epochs):
        order = np.arange(len(images))
        if epoch >= warmup:
            order = select(task, RS2(), share, seed, round=epoch).indices
        seen[order] = epoch
        draws = torch.Generator().manual_seed(1000 * seed + epoch)
        loader = DataLoader(Subset(Indexed(images), order.tolist()), 64, shuffle=True, generator=draws)
        began = process_time()
        sat.train_epoch(network, loader, optimizer, attack, generator=draws, call=route_call, history=history)
        training = (process_time() - began) / len(order) * share * pool
        if epoch >= warmup - 1:
            network.eval()
            found, seconds = {}, {}
            for rows in ("fresh", "recorded"):
                start = process_time()
                selector = RCS(group_size=GROUP, rows=rows, certify=None)
                found[rows] = select(task, selector, share, seed, round=epoch)
                seconds[rows] = process_time() - start
            own = compared(found["fresh"], found["recorded"])
            records.append({
                "epoch": epoch, "age": float((epoch - seen).mean()), **own,
                "seconds": seconds["recorded"] / seconds["fresh"], "cost": seconds["recorded"] / (interval * training),
            })  # fmt: skip
    return records


def compared(fresh: Selection, recorded: Selection) -> dict[str, float]:
    """Return the overlap and the share of the gain."""
    gains = fresh.scores
    assert gains is not None  # RCS scores every example
    random = gains.mean() * len(fresh)
    own, others = set(fresh.groups.tolist()), set(recorded.groups.tolist())
    return {
        "overlap": len(own & others) / len(own),
        "gain": float((gains[recorded.indices].sum() - random) / (gains[fresh.indices].sum() - random)),
    }


def main() -> None:
    """Print one JSON line an epoch."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--data", required=True)
    for name, value in (("pool", 5000), ("validation", 50), ("epochs", 14), ("warmup", 6), ("seed", 0), ("threads", 1)):
        read.add_argument(f"--{name}", type=int, default=value)
    read.add_argument("--share", type=float, default=0.05, help="of the pool")
    read.add_argument("--steps", type=int, default=10, help="of the attack that training makes")
    read.add_argument("--interval", type=int, default=5, help="epochs from one selection to the next")
    given = vars(read.parse_args())
    torch.set_num_threads(given.pop("threads"))
    for record in measure(**given):
        print(json.dumps({name: round(value, 3) for name, value in record.items()}), flush=True)


if __name__ == "__main__":
    main()
