"""Every selector on a device gives the answer of the CPU; numbers may differ by rounding."""

from typing import Any, cast

import cases
import pytest
import test_contract
from contract import SelectorContract
from pretend_device import PretendDevice, same_to_rounding, without_device

from coreselect import select

N = 16
CONTRACTS = [c for c in vars(test_contract).values() if isinstance(c, type) and issubclass(c, SelectorContract)]


@pytest.mark.parametrize(
    "contract", [c for c in CONTRACTS if c is not SelectorContract], ids=lambda c: c.__name__.removeprefix("Test")
)
def test_every_selector_picks_on_a_device_what_it_picks_on_the_cpu(
    contract: Any, device: PretendDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Picks, gains, weights, scores, certificate and diagnostics are the CPU's."""
    if issubclass(contract, test_contract.Recorded):
        cases.record_tasks(monkeypatch)
    own = cast(Any, contract)
    make: Any = own.make
    for kind in own.tasks:
        if kind == "arrays":
            continue  # arrays are on the CPU
        build, model = (cases.acl_task, cases.DualNet) if kind == "acl" else (cases.sat_task, cases.ConvNet)
        want = select(build(N, u=6), make(), 7, 3)
        got = select(build(N, u=6, model=cases.built(model).to("pretend:0")), make(), 7, 3)
        same_to_rounding(without_device(got), want)
