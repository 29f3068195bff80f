"""The documents' code runs as it stands, and drops into a plain loop by five lines."""

import ast
import math
import re
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import coreselect
from coreselect.loop.sampler import CoresetSampler
from coreselect.selectors import RCS

README = Path(coreselect.__file__).parent.parent / "README.md"
TRAINING = README.parent / "docs" / "training.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the documents are not part of the wheel")


def blocks(path: Path = README) -> list[str]:
    """Python code blocks, in order."""
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def statements(code: str) -> list[str]:
    """Simple statements and loop heads of a piece of code, without imports, comments and layout."""
    lines = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.For):
            lines.append(f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}")
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom):
            lines.append(ast.unparse(node))
    return lines


PLAIN = """
loader = DataLoader(pool, batch_size=128, shuffle=True)
for epoch in range(100):
    for x, y in loader:
        ...
"""


def test_the_loop_takes_five_added_lines_and_trains_on_what_was_selected() -> None:
    """Run as printed, with a training step in place of the dots: whole epochs, then the chosen tenth, ten times renewed."""
    code = blocks()[0]
    added = [line for line in statements(code) if line not in statements(PLAIN)]
    assert len(added) == 5, added

    images = cases.images(240, dtype=torch.float32)  # [240, C, H, W]
    dataset = TensorDataset(images, cases.classes(240))
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), cases.CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sizes: list[list[int]] = []

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        sizes[-1].append(len(x))

    run = code.replace("    sampler.set_epoch(epoch)", "    begin()\n    sampler.set_epoch(epoch)", 1)
    run = run.replace("        ...", "        step(x, y)  #", 1)
    names: dict[str, Any] = {"dataset": dataset, "model": model, "step": step, "begin": lambda: sizes.append([])}
    exec(compile(run, "README.md", "exec"), names)

    pool = len(names["pool"])
    assert [sum(s) for s in sizes] == [pool] * 10 + [pool // 10] * 90
    sampler = names["sampler"]
    assert isinstance(sampler, CoresetSampler)
    assert sampler.selection is not None
    assert sampler.selection.provenance.round == 8


def test_dynacl_by_hand_runs_as_printed() -> None:
    """docs/training.md: the loop selects under each epoch's own loss and ends at the schedule's last rate."""
    pytest.importorskip("kornia")
    from coreselect_integrations.networks import small_conv_contrastive
    from coreselect_integrations.systems import acl

    x = torch.rand(72, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pool, validation = coreselect.holdout(TensorDataset(x, torch.zeros(72, dtype=torch.int64)), 8, 0)
    network = small_conv_contrastive(3, 8)
    sampler = CoresetSampler(acl.task(network, pool, validation), RCS(), 32, warmup=1, every=1)
    names: dict[str, Any] = {
        "network": network, "pool": pool, "validation": validation, "sampler": sampler, "epochs": 3, "seed": 0,
        "optimizer": torch.optim.SGD(network.parameters(), 0.05),
        "loader": DataLoader(pool, 16, sampler=sampler, generator=torch.Generator()),
    }  # fmt: skip
    exec(compile(blocks(TRAINING)[0], "training.md", "exec"), names)

    assert sampler.selection is not None
    assert sampler.selection.provenance.round == 1
    assert sampler.selection.provenance.task["loss"]["omega"] == pytest.approx(4 / 9)
    assert names["schedule"].rate == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 1.75 / 2)))
