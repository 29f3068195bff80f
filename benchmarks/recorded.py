"""How near are rows from recorded features to fresh ones, as they grow older, and what do they cost?

    python -m benchmarks.recorded --data out/data/cifar10 --pool 3000 --epochs 14 --warmup 6

A small network trains by SAT: some epochs on the whole pool, then on a tenth of it, re-drawn in each epoch. After each epoch from
the last of the warm-up on, RCS chooses a tenth from the same groups twice, from fresh and from recorded rows. Each line of the
output is one epoch:

    age       epochs since training saw an example, on average
    overlap   groups in common ÷ groups picked
    gain      Σ fresh gains of its picks, above a random subset's, ÷ those of the fresh picks above the same
    seconds   processor seconds of a selection from recorded rows ÷ from fresh ones
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
SHARE, GROUP = 0.1, 16


def measure(data: str, pool: int, validation: int, epochs: int, warmup: int, seed: int) -> list[dict[str, Any]]:
    """Train, select twice after each epoch, and return one record an epoch."""
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
            order = select(task, RS2(), SHARE, seed, round=epoch).indices
        seen[order] = epoch
        draws = torch.Generator().manual_seed(1000 * seed + epoch)
        loader = DataLoader(Subset(Indexed(images), order.tolist()), 64, shuffle=True, generator=draws)
        sat.train_epoch(
            network,
            loader,
            optimizer,
            PGD(RADIUS, 2.5 * RADIUS / 3, 3),
            generator=draws,
            call=route_call,
            history=history,
        )
        if epoch >= warmup - 1:
            network.eval()
            found, seconds = {}, {}
            for rows in ("fresh", "recorded"):
                start = process_time()
                selector = RCS(group_size=GROUP, rows=rows, certify=None)
                found[rows] = select(task, selector, SHARE, seed, round=epoch)
                seconds[rows] = process_time() - start
            own = compared(found["fresh"], found["recorded"])
            records.append({
                "epoch": epoch, "age": float((epoch - seen).mean()), **own,
                "seconds": seconds["recorded"] / seconds["fresh"],
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
    for name, value in (
        ("pool", 3000),
        ("validation", 200),
        ("epochs", 14),
        ("warmup", 6),
        ("seed", 0),
        ("threads", 1),
    ):
        read.add_argument(f"--{name}", type=int, default=value)
    given = vars(read.parse_args())
    torch.set_num_threads(given.pop("threads"))
    for record in measure(**given):
        print(json.dumps({name: round(value, 3) for name, value in record.items()}), flush=True)


if __name__ == "__main__":
    main()
