"""Two ways to count the intervals between selections: from the warm-up, and from epoch 0 as in Algorithm 2."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samplers import sampler

from coreselect.errors import ScheduleError


def selected_in(epochs: int, **schedule: Any) -> list[int]:
    """The epochs in which a plain run selects."""
    s, selector = sampler("round", **schedule)
    out = []
    for epoch in range(epochs):
        before = len(selector.calls)
        s.set_epoch(epoch)
        if len(selector.calls) > before:
            out.append(epoch)
    assert selector.calls == list(range(len(out)))
    return out


@given(st.integers(0, 9), st.integers(1, 7))
def test_absolute_selects_where_algorithm_2_does(warmup: int, every: int) -> None:
    """For any ω and λ: in the epochs e ≥ ω with e mod λ = 0, and the whole pool is seen before the first of them."""
    schedule: dict[str, Any] = {"warmup": warmup, "every": every, "align": "absolute"}
    want = [e for e in range(25) if e >= warmup and e % every == 0]
    assert selected_in(25, **schedule) == want
    s, _ = sampler("round", **schedule)
    assert s.lengths(25) == [20 if e < want[0] else 6 for e in range(25)]


@given(st.integers(0, 4), st.integers(1, 6))
def test_both_agree_where_the_interval_divides_the_warm_up(intervals: int, every: int) -> None:
    """If λ divides ω, both ways select in the same epochs, with the same round numbers, and yield the same positions."""
    ours, theirs = (
        sampler("round", warmup=intervals * every, every=every, align=align)[0] for align in ("warmup", "absolute")
    )
    for epoch in range(30):
        assert ours.round_of(epoch) == theirs.round_of(epoch)
    ours.set_epoch(29)
    theirs.set_epoch(29)
    assert list(ours) == list(theirs)


@pytest.mark.parametrize(
    ("renew", "rounds"),
    [("never", [None, None, 0, 0, 0]), ("epoch", [None, None, 0, 1, 2]), ("round", [None] * 2 + [0, 0, 1])],
)
def test_every_kind_of_method_waits_for_the_first_multiple(renew: str, rounds: list[Any]) -> None:
    """With ω = 1 and λ = 2 methods that renew never, every round or every epoch begin in epoch 2."""
    s, _ = sampler(renew, warmup=1, every=2, align="absolute")
    assert [s.round_of(e) for e in range(5)] == rounds


def test_a_state_keeps_the_alignment() -> None:
    """A state of the other alignment is refused; one without an alignment, of an older version, is of `warmup`."""
    s, _ = sampler(warmup=1, every=2, align="absolute")
    s.set_epoch(3)
    other, _ = sampler(warmup=1, every=2)
    with pytest.raises(ScheduleError, match="align 'absolute', and this sampler has 'warmup'"):
        other.load_state_dict(s.state_dict())
    other.set_epoch(3)
    older = {name: value for name, value in other.state_dict().items() if name != "align"}
    fresh, _ = sampler(warmup=1, every=2)
    fresh.load_state_dict(older)
    assert list(fresh) == list(other)
    with pytest.raises(ScheduleError, match=r'"warmup" or "absolute"'):
        sampler(align="epoch")
