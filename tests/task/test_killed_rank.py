"""A selection of several ranks goes on from its store after one of them was killed."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import cases
import killed_rank_job as job
import numpy as np
import pytest
import torch

from coreselect import select
from coreselect.gradients.row_store import FolderStore


def _torchrun(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, job.__file__, str(folder), *words], capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.slow  # two launches of two processes
def test_a_rank_killed_in_the_sweep_is_made_up_for(tmp_path: Path) -> None:
    """Started again, the ranks read only what is missing, and end with the bits of one process that was never disturbed."""
    killed = _torchrun(tmp_path, "kill")
    assert killed.returncode
    assert not (tmp_path / "bits").exists()
    kept = [sum(done for _, done, _ in FolderStore(tmp_path / "rows" / f"rank-{r}-of-2").contents()) for r in (0, 1)]
    assert 0 < sum(kept) < 12
    again = _torchrun(tmp_path)
    assert again.returncode == 0, again.stderr
    read = {i for r in (0, 1) for i in json.loads((tmp_path / f"read-{r}.json").read_text())}
    assert job.FATAL in read
    assert not read & {4, 5, 6, 7}, "finished batches of both ranks were not made again"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = select(job.made(job.Watched(cases.images(job.N), cases.classes(job.N))), cases.rcs(), job.K, job.SEED)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_equal(pickle.loads((tmp_path / "bits").read_bytes()), pickle.loads(job.bits(alone)))
