"""The same claims on a GPU: rows, searches and selections agree with the processor's."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import photograph, random_states

from coreselect import select
from coreselect.gradients.rows import DenseRows, argmax
from coreselect.network.precision import HalfPrecision
from coreselect.search import ExactSearch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def tasks(**settings: Any) -> tuple[Any, Any]:
    """One task on the processor and its twin on the GPU."""
    host = cases.sat_task(20, model=cases.built(cases.ConvNet), **settings)
    device = cases.sat_task(20, model=cases.built(cases.ConvNet).cuda(), **settings)
    return host, device


@pytest.mark.parametrize("settings", [{}, {"capture": "all"}])
def test_rows_agree_to_rounding(settings: Any) -> None:
    """In float64 rows on the GPU equal those on the processor to 1e-9."""
    host, device = tasks(**settings)
    found = []
    for task in (host, device):
        with task.snapshot(0, 0) as shot:
            rows, _ = shot.rows([np.arange(5), np.arange(5, 10)])
            found.append(torch.stack([rows.full(0), rows.full(1)]).cpu())
    assert torch.allclose(*found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_searches_agree(dtype: torch.dtype) -> None:
    """Near-tied rows on the GPU are decided as on the processor."""
    own = torch.Generator().manual_seed(0)
    R = (torch.randn(1, 64, generator=own) + 1e-6 * torch.randn(500, 64, generator=own)).to(dtype)
    q = torch.randn(64, generator=own).to(dtype)
    alive = torch.ones(500, dtype=torch.bool)
    picks = []
    for where in ("cpu", "cuda"):
        rows = DenseRows(R.to(where), [np.array([i]) for i in range(500)])
        query = q.to(where)
        picks.append(argmax(rows, ExactSearch(rows).propose(query, alive), query)[0])
    assert picks[0] == picks[1]


@pytest.mark.parametrize(
    "make", [cases.rcs, lambda: cases.rcs(recraft="every"), lambda: cases.rcs(stratify="clusters")]
)
def test_selections_agree_and_leave_no_trace(make: Any) -> None:
    """In float64 the GPU's picks are the processor's, and the model and every generator are as they were."""
    host, device = tasks()
    before, states, gpu = photograph(device.model.cpu()), random_states(), torch.cuda.get_rng_state_all()
    device.model.cuda()
    got = select(device, make(), 8)
    assert got.indices.tolist() == select(host, make(), 8).indices.tolist()
    assert random_states() == states
    assert all(torch.equal(a, b) for a, b in zip(gpu, torch.cuda.get_rng_state_all(), strict=True))
    after = photograph(device.model.cpu())
    assert {n: v[1:] for n, v in after["parameters"].items()} == {n: v[1:] for n, v in before["parameters"].items()}
    assert after["modes"] == before["modes"]


def test_contrastive_selections_agree() -> None:
    """ACL on two routes picks on the GPU what it picks on the processor."""
    answers = [
        select(cases.acl_task(20, model=cases.built(cases.DualNet).to(where)), cases.rcs(), 8).indices.tolist()
        for where in ("cpu", "cuda")
    ]
    assert answers[0] == answers[1]


def test_attacks_in_half_precision_run_on_the_gpu() -> None:
    """Its passes are lowered there too: rows differ from those of full precision, and by little."""
    model = cases.built(cases.ConvNet, dtype=torch.float32).cuda()
    found = []
    for attack in (cases.WEAK, HalfPrecision(cases.WEAK)):
        with cases.sat_task(20, model=model, dtype=torch.float32, attack=attack).snapshot(0, 0) as shot:
            found.append(shot.rows([np.arange(20)])[0].full(0))
    assert not torch.equal(*found)
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.99
