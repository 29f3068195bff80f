"""Rows of features that training has recorded."""

import io
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, History, Task, certify, plan, select
from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect.selectors import RCS

N, D, C = 40, 6, 3


def images(n: int, seed: int) -> TensorDataset:
    """Numbers that half precision holds exactly."""
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randint(0, 9, (n, D), generator=g).double() / 8, torch.arange(n) % C)


POOL, HELD = images(N, 0), images(8, 1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(D, C)).double()


def recorded(features: torch.Tensor | None = None, known: int = N) -> History:
    history = History(N, features=True)
    x = POOL.tensors[0] if features is None else features
    history.record_features(torch.arange(known), x[:known])
    return history


def task(history: History | None, **more: Any) -> Task:
    return Task.from_model(more.pop("model", net()), POOL, HELD, **{"loss": "ce", **more}, history=history)


def rcs(rows: str = "recorded", **more: Any) -> RCS:
    return RCS(group_size=4, rows=rows, **more)  # type: ignore[arg-type]


def test_what_a_sweep_would_give_gives_its_picks() -> None:
    """With the features that a sweep would compute, picks, gains and weights of RCS are those of fresh rows."""
    fresh, kept = (select(task(recorded()), rcs(rows), 13, 2) for rows in ("fresh", "recorded"))
    assert kept.indices.tolist() == fresh.indices.tolist()
    assert np.array_equal(kept.gains, fresh.gains)
    assert any("training has recorded" in note for note in kept.provenance.notes)
    assert not any("training has recorded" in note for note in fresh.provenance.notes)


def test_the_head_is_todays_and_the_features_are_those_of_training() -> None:
    """Other features give the picks of a pool that has them."""
    other = images(N, 7).tensors[0]
    want = Task.from_model(net(), TensorDataset(other, POOL.tensors[1]), HELD, loss="ce")
    assert select(task(recorded(other)), rcs(), 12).indices.tolist() == select(want, rcs("fresh"), 12).indices.tolist()


def test_the_certificate_is_of_the_recorded_rows() -> None:
    """Certifying later gives the certificate that the selection carries, which is another one than that of fresh rows."""
    other = recorded(images(N, 7).tensors[0])
    chosen = select(task(other), rcs(), 12)
    again, fresh = certify(chosen, task(other)), select(task(other), rcs("fresh"), 12).certificate
    assert again is not None
    assert chosen.certificate is not None
    assert fresh is not None
    assert (again.value, again.upper_bound) == pytest.approx((chosen.certificate.value, chosen.certificate.upper_bound))
    assert again.upper_bound != pytest.approx(fresh.upper_bound)


def test_no_pass_over_the_pool_is_planned() -> None:
    """The plan of recorded rows has validation's passes only; that of fresh rows has one over the pool."""
    fresh, kept = (plan(task(recorded()), rcs(rows), 12) for rows in ("fresh", "recorded"))
    assert len(fresh.passes) > len(kept.passes)
    assert all(p.examples <= len(HELD) for p in kept.passes)
    assert any(p.examples == N for p in fresh.passes)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: task(None), "recorded_features|recorded features"),
        (lambda: task(History(N)), "recorded_features|recorded features"),
        (lambda: task(recorded(known=30)), "no features of 10 of 40 examples"),
        (lambda: task(recorded(POOL.tensors[0][:, :4])), r"reads features of shape \[6\], and \[4\]"),
        (lambda: task(recorded(), loss="trades"), "one forward pass"),
    ],
)
def test_what_cannot_be_is_one_sentence(made: Any, said: str) -> None:
    """No history, unseen examples, another width, a loss of two passes."""
    with pytest.raises(RequirementError, match=said):
        select(made(), rcs(), 12)


def test_arrays_have_no_recorded_features() -> None:
    """A task of arrays lacks them by name."""
    with pytest.raises(RequirementError, match="recorded"):
        select(cases.array_task(24), rcs(), 8)
    with pytest.raises(ShapeError, match="rows must be 'fresh' or 'recorded'"):
        rcs("stale")


def test_a_batch_that_is_refused_changes_nothing() -> None:
    """Wrong lengths and shapes, values beyond half precision; the state stays."""
    history = recorded()
    before = history.state_dict()["features"]
    for i, z, kind in (
        (torch.arange(2), torch.zeros(3, D), ShapeError),
        (torch.arange(2), torch.zeros(2, D + 1), ShapeError),
        (torch.tensor([N]), torch.zeros(1, D), ShapeError),
        (torch.arange(2), torch.full((2, D), 1e6), NonFiniteError),
        (torch.arange(2), torch.full((2, D), float("nan")), NonFiniteError),
    ):
        with pytest.raises(kind):
            history.record_features(i, z)
    assert torch.equal(history.state_dict()["features"], before)
    with pytest.raises(RequirementError, match="features=True"):
        History(N).record_features(torch.arange(2), torch.zeros(2, D))


def test_a_state_brings_them_back() -> None:
    """After a weights-only load the picks are the same; damaged states are refused, and those without features are read."""
    history, other = recorded(), History(N, features=True)
    box = io.BytesIO()
    torch.save(history.state_dict(), box)
    box.seek(0)
    other.load_state_dict(torch.load(box, weights_only=True))
    assert select(task(other), rcs(), 12).indices.tolist() == select(task(history), rcs(), 12).indices.tolist()
    state = history.state_dict()
    for bad in ({"features": state["features"][:5]}, {"features_known": None}, {"features": state["features"].float()}):
        with pytest.raises(ShapeError, match="recorded features of this state"):
            History(N, features=True).load_state_dict({**state, **bad})
    other.load_state_dict(History(N).state_dict())
    with pytest.raises(RequirementError, match="no features of 40"):
        select(task(other), rcs(), 12)


def test_a_sampler_takes_it_once_the_warm_up_has_seen_the_pool() -> None:
    """The sampler is made before anything is recorded, and selects after an epoch that records."""
    history = History(N, features=True)
    s = CoresetSampler(task(history), rcs(), 12, warmup=1, every=2)
    s.set_epoch(0)
    assert len(list(s)) == N
    history.record_features(torch.arange(N), POOL.tensors[0])
    s.set_epoch(1)
    assert len(list(s)) == 12
