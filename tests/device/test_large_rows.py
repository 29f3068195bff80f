"""Rows too large for a device lie in a file of the host, while the model and the query are on the device."""

from typing import Any

import cases
import pytest
from contract import same

from coreselect import select
from coreselect.gradients import store
from coreselect.selectors import CRAIG, GLISTER, LESS, GradMatch, Windowed

pretend: Any = pytest.importorskip("pretend_device", reason="needs the device that exists only in Python")


@pytest.mark.parametrize(
    ("build", "model", "make"),
    [
        (cases.acl_task, cases.DualNet, lambda: cases.rcs(stratify=None, group_size=3)),
        (cases.acl_task, cases.DualNet, lambda: cases.rcs(stratify=None, group_size=3, search="faiss", refresh=2)),
        (cases.acl_task, cases.DualNet, lambda: cases.rcs(stratify=None, group_size=3, search="candidates=2x2")),
        (cases.acl_task, cases.DualNet, lambda: cases.rcs(stratify=None, group_size=3, recraft="every")),
        (cases.sat_task, cases.ConvNet, lambda: cases.rcs(stratify=None, group_size=3, certify="paper")),
        (cases.sat_task, cases.ConvNet, lambda: Windowed(cases.rcs(stratify=None, group_size=2), 7)),
        (cases.sat_task, cases.ConvNet, lambda: GLISTER()),
        (cases.sat_task, cases.ConvNet, lambda: GradMatch()),
        (cases.sat_task, cases.ConvNet, lambda: CRAIG()),
        (cases.sat_task, cases.ConvNet, lambda: LESS()),
    ],
)
@pytest.mark.parametrize("capture", [None, "all"])
def test_rows_of_the_host_give_the_answer_of_rows_on_the_device(
    build: Any, model: Any, make: Any, capture: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No operation mixes devices, and the answer is the CPU's."""
    del device
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    want = select(build(16, u=6, capture=capture), make(), 7, 3)
    got = select(build(16, u=6, model=cases.built(model).to("pretend:0"), capture=capture), make(), 7, 3)
    same(pretend.without_device(got), want)
