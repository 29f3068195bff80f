"""A claim about jobs as people launch them: two processes that Lightning starts, killed and started again."""

import os
import subprocess
import sys
from pathlib import Path

import framework_runs as runs
import pytest

pytest.importorskip("lightning", reason="needs the extra lightning")
JOB = Path(runs.__file__).parent / "lightning_job.py"


@pytest.mark.slow
def test_a_job_that_was_killed_goes_on(tmp_path: Path) -> None:
    """Both ranks are killed in the middle of an epoch; started again, they end with the shares of an unbroken run."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join([str(JOB.parent), *sys.path])}
    for folder, kills in ((tmp_path / "whole", []), (tmp_path / "killed", ["7"])):
        folder.mkdir()
        for told in (kills, []) if kills else ([],):
            done = subprocess.run(
                [sys.executable, str(JOB), str(folder), "ddp", *told],
                env=env,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert bool(done.returncode) == bool(told), done.stderr
    for rank in (0, 1):
        whole, killed = (
            (tmp_path / name / f"seen-{rank}.txt").read_text().splitlines() for name in ("whole", "killed")
        )
        assert killed == whole
        assert len(whole) == 6 + 2 * (runs.EPOCHS - 1)
