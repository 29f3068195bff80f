"""One rank of a selection with a store, for `torchrun`: the last of them may be killed in the middle of the sweep.

    torchrun --nproc-per-node 2 killed_rank_job.py FOLDER [kill]

Rank 0 writes the bits of the selection into the folder, and every rank the positions that its sweep has read.
"""

import json
import os
import pickle
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cases
import torch
import torch.distributed as dist

from coreselect import Selection, Task, select

N, K, SEED = 23, 6, 3
FATAL = 15  # the position whose reader is killed: of the eighth of twelve batches


class Watched(cases.Items):
    """Items that note which are read, and of which one may end the process."""

    seen: list[int] | None = None
    fatal = False

    @property
    def targets(self) -> Any:
        """The labels, so that only the sweep reads the items."""
        return self.y

    def __getitem__(self, index: int) -> Any:
        if self.seen is not None:
            self.seen.append(index)
            if self.fatal and index == FATAL:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def made(pool: Watched) -> Task:
    """Make the task of the selection; afterwards the pool notes what is read."""
    task = cases.sat_task(N, pool=pool, batch_size=2)
    task.fingerprint()
    pool.seen = []
    return task


def bits(selection: Selection) -> bytes:
    """Return all of a selection but its seconds."""
    plain = asdict(selection)
    plain["provenance"].pop("seconds")
    return pickle.dumps(plain)


def main(folder: Path, *, kill: bool) -> None:
    """Select as one of the ranks."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    pool = Watched(cases.images(N), cases.classes(N))
    task = made(pool)
    pool.fatal = kill and dist.get_rank() == dist.get_world_size() - 1
    selection = select(task, cases.rcs(), K, SEED, share=True, store=folder / "rows")
    (folder / f"read-{dist.get_rank()}.json").write_text(json.dumps(pool.seen))
    if dist.get_rank() == 0:
        (folder / "bits").write_bytes(bits(selection))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), kill="kill" in sys.argv)
