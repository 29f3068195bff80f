"""Commands under torchrun: one answer, one writer, the others silent, and one refusal where only one process may work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.cli.launcher import launched, refuse_several
from coreselect.errors import RequirementError

WORDS = ["select", "--data", "digits", "--rows", "120", "--count", "12", "--warmup-epochs", "0", "--device", "cpu"]


def _torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "-m", "coreselect", *words], capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.slow  # a launch starts several interpreters
def test_two_processes_write_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index file and the printed result come once, and are those of a single process with one thread."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    got = _torchrun(*WORDS, "--out", str(tmp_path / "two.npz"))
    assert got.returncode == 0, got.stderr
    assert got.stderr.count("wrote ") == 1
    assert got.stdout.count("in all") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["two.npz"]
    assert CliRunner().invoke(build(), [*WORDS, "--out", str(tmp_path / "one.npz")]).exit_code == 0
    one, two = Selection.load(tmp_path / "one.npz"), Selection.load(tmp_path / "two.npz")
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_allclose(one.gains, two.gains, rtol=1e-5)  # this process may have another number of threads


@pytest.mark.parametrize("command", ["evaluate", "finetune", "convert", "fidelity"])
def test_other_commands_refuse_several_processes(command: str, monkeypatch: Any) -> None:
    """The first process says so in one sentence, the others end with exit code 1; without a launcher nothing is refused."""
    refuse_several(command)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    assert launched() == 2
    refuse_several("select")
    with pytest.raises(RequirementError, match=rf"{command} works in one process, and 2 were started"):
        refuse_several(command)
    said = CliRunner().invoke(build(), [command])
    assert isinstance(said.exception, RequirementError)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as end:
        refuse_several(command)
    assert end.value.code == 1
