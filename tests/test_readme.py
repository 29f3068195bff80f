"""The first page: its order and length, and its diff, which runs with and without the added lines."""

import re
from itertools import pairwise
from typing import Any

import cases
import pages
import pytest
import torch
from pages import README
from torch import nn
from torch.utils.data import TensorDataset

from coreselect.loop.sampler import CoresetSampler

pytestmark = pytest.mark.skipif(not pages.THERE, reason="the documents are not part of the wheel")
ORDER = (
    "When to use it", "Install", "In your training loop", "On your own images", "Does it help?", "Works with", "Methods", "More",
)  # fmt: skip


def before_and_after(diff: str) -> tuple[str, str]:
    """The code of a diff without its added lines, and without its removed ones."""
    lines = [line or " " for line in diff.splitlines()]
    plain, changed = ("\n".join(x[1:] for x in lines if x[0] != other) for other in "+-")
    return plain, changed


DIFFS = [before_and_after(b.text) for b in pages.blocks(README) if b.language == "diff"] if pages.THERE else []


def setting(epochs: list[int]) -> dict[str, Any]:
    """What the reader has: data, a model, an optimiser, an attack. `epochs` collects the size of each batch."""
    torch.manual_seed(0)
    images = cases.images(240, dtype=torch.float32).expand(-1, 3, -1, -1).contiguous()  # [240, 3, H, W]
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), cases.CLASSES))

    def attack(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        epochs.append(len(x))
        return (x + 0.01 * torch.randn(x.shape)).clamp(0, 1)

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return {
        "train_set": TensorDataset(images, cases.classes(240)),
        "model": model,
        "attack": attack,
        "optimizer": optimizer,
    }


def run(code: str, names: dict[str, Any]) -> None:
    """Execute code of the page."""
    exec(compile(code, "README.md", "exec"), names)


def test_the_page_is_short_and_in_order() -> None:
    """At most about 150 lines of at most 120 characters, under 1,000 words, one picture first, sections in their order."""
    text = README.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []
    assert len(text.split()) < 1000
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == ORDER
    assert re.findall(r"!\[", text) == ["!["]
    assert text.index("![") < text.index("## ")
    for stated in ("Use it when", "Do not use it when", "takes as input", "make demo", "make test", "rs2"):
        assert stated in text


def test_the_command_on_the_users_own_images_shows_eight_lines() -> None:
    """One command, then eight lines of what it prints."""
    found = pages.blocks(README)
    shown = [b for a, b in pairwise(found) if a.text.startswith("coreselect select") and a.language == "sh"]
    assert [len(b.text.splitlines()) for b in shown] == [8]


def test_the_loop_without_the_green_lines_is_a_plain_loop() -> None:
    """The code before the change runs by itself, imports nothing of ours, and trains 100 epochs on everything."""
    plain, _ = DIFFS[0]
    assert "coreselect" not in plain
    batches: list[int] = []
    run(plain, setting(batches))
    assert sum(batches) == 100 * 240


def test_few_green_lines_train_on_what_was_selected() -> None:
    """At most eight added lines: ten whole epochs, then a tenth of the pool, chosen anew every ten epochs."""
    plain, changed = DIFFS[0]
    assert len([x for x in changed.splitlines() if x.strip() and x not in plain.splitlines()]) <= 8
    batches: list[int] = []
    names = setting(batches)
    run(changed, names)
    pool = len(names["pool"])
    assert sum(batches) == 10 * pool + 90 * (pool // 10)
    sampler = names["sampler"]
    assert isinstance(sampler, CoresetSampler)
    assert sampler.selection is not None
    assert sampler.selection.provenance.round == 8


def test_the_lines_for_weights_and_for_resuming_run_after_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops of the second diff run, one with weights; the saved state gives the same selection back."""
    monkeypatch.chdir(tmp_path)
    names = setting([])
    run(DIFFS[0][1], names)
    for code in DIFFS[1]:
        run(code, names)
    assert DIFFS[1][1].count("Indexed") == 2
    kept = names["sampler"].selection.indices.tolist()
    (resume,) = [b.text for b in pages.python(README)]
    run(resume, names)
    assert names["sampler"].selection.indices.tolist() == kept
