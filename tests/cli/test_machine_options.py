"""How many processes read images: as many as are asked for, else some on a GPU and none on a CPU."""

import os

import pytest
import torch

from coreselect.cli.options import MachineOptions


@pytest.mark.parametrize(("asked", "kind", "want"), [(None, "cpu", 0), (0, "cuda", 0), (3, "cpu", 3), (3, "cuda", 3)])
def test_the_number_of_workers_that_is_asked_for_counts(asked: int | None, kind: str, want: int) -> None:
    """A number is taken as it is; without one a CPU reads in this process."""
    assert MachineOptions(num_workers=asked).workers(torch.device(kind)) == want


def test_a_gpu_gets_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each core, and at most eight."""
    for cores, want in ((2, 2), (64, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert MachineOptions().workers(torch.device("cuda:1")) == want
