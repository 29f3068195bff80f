"""Claims about checkpoints of a user's model: what was saved is loaded, whatever the model's children are called."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coreselect.cli.model import load_weights, save_weights

NAMES = st.lists(st.sampled_from(["module", "model", "net", "module_"]), min_size=1, max_size=3, unique=True)


def tree(names: list[str], depth: int) -> nn.Module:
    """A Linear below `depth` levels of children with these names, and one beside each of them."""
    out = nn.Module()
    for name in names:
        out.add_module(name, tree(names, depth - 1) if depth else nn.Linear(2, 3))
    if depth:
        out.add_module("head", nn.Linear(3, 2))
    return out


@given(names=NAMES, depth=st.integers(0, 2), wrapped=st.booleans())
def test_weights_come_back_under_any_names(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], depth: int, wrapped: bool
) -> None:
    """A child called `module` keeps its weights; so do models that were saved inside a wrapper that adds `module.`."""
    path = tmp_path_factory.mktemp("weights") / "m.pt"
    saved, fresh = tree(names, depth), tree(names, depth)
    if wrapped:
        torch.save({f"module.{name}": value for name, value in saved.state_dict().items()}, path)
    else:
        save_weights(saved, Path(path))
    load_weights(fresh, path)
    for name, value in saved.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)
