"""These networks are tiny: more than one thread only makes tests slow where cores are shared. Refusals are read in one line."""

from collections.abc import Iterator

import pytest
import torch
import typer.rich_utils


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Hold torch to one thread for a file of tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def wide_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Typer write what it refuses in one line; it reads its width once, so a test cannot set it by the environment."""
    monkeypatch.setattr(typer.rich_utils, "MAX_WIDTH", 400)
