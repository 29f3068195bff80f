"""train and compare under torchrun: one writer, one summary, and the results of a comparison in one process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coreselect_integrations.pretraining.coreset_file import CORESET
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.training.runs import CHECKPOINT, LOG

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
pytestmark = pytest.mark.slow  # every launch starts several interpreters
SMALL = (
    "--data", "digits", "--rows", "100", "--validation", "20", "--arch", "small", "--batch-size", "32", "--attack-steps", "1",
    "--epochs", "3", "--warmup", "1", "--every", "1", "--device", "cpu",
)  # fmt: skip
TIMES = ("warm_seconds", "train_seconds", "select_seconds", "selection")


def launched(count: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in so many processes of one thread each."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [*launcher, "-m", "coreselect", *words], capture_output=True, text=True, check=False, timeout=240
    )


def test_ranks_train_one_network(tmp_path: Path) -> None:
    """The folder is that of one run, the log names the ranks, and stdout and stderr have every line once."""
    out = tmp_path / "run"
    words = ("train", "sat", *SMALL, "--selector", "rcs", "--fraction", "0.25", "--store", str(tmp_path / "rows"))
    got = launched(2, *words, "--out", str(out))
    assert got.returncode == 0, got.stderr
    assert {p.name for p in out.iterdir()} == {MODEL, CORESET, CHECKPOINT, LOG}
    assert [json.loads(line)["ranks"] for line in (out / LOG).read_text().splitlines()] == [2, 2, 2]
    assert got.stderr.count("epoch 3 of 3") == 1
    assert got.stdout.count("hold the network and the log") == 1
    (only,) = (tmp_path / "rows").iterdir()
    assert sorted(p.name for p in only.iterdir()) == ["rank-0-of-2", "rank-1-of-2"]


def test_processes_compare_as_one_does(tmp_path: Path) -> None:
    """All but the times is that of one process; the report says how many trained at once; a wrong word is refused once."""
    words = ("compare", *SMALL, "--test-rows", "30", "--selectors", "rcs,random", "--fractions", "0.25", "--seeds", "2")
    words = (*words, "--num-threads", "1")  # other numbers of threads round otherwise
    told: list[dict[str, Any]] = []
    for count in (1, 2):
        got = launched(count, *words, "--json", "--out", str(tmp_path / str(count)))
        assert got.returncode == 0, got.stderr
        told.append(json.loads(got.stdout))
    assert [t["study"]["processes"] for t in told] == [1, 2]
    for one, two in zip(told[0]["records"], told[1]["records"], strict=True):
        assert {k: v for k, v in one.items() if k not in TIMES} == {k: v for k, v in two.items() if k not in TIMES}
    refused = launched(2, "compare", *SMALL, "--selectors", "nothing", "--out", str(tmp_path / "no"))
    assert refused.returncode
    assert refused.stderr.count("no selector is called 'nothing'") == 1
