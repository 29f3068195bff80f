"""Claims about `select` and `certify`: they check their arguments and refuse what does not fit together."""

from typing import Any

import cases
import pytest

from coreselect import CoresetSampler, certify, select
from coreselect.errors import RequirementError, ScheduleError
from coreselect.selectors import RCS, Redraw


@pytest.mark.parametrize(("seed", "round"), [(-1, 0), (0, -1)])
def test_seeds_and_rounds_count_from_zero(seed: int, round: int) -> None:
    """A negative seed or round is refused, and not wrapped to another number."""
    with pytest.raises(RequirementError, match="must be a whole number"):
        select(cases.sat_task(12), Redraw(), 3, seed, round=round)


def test_certify_refuses_another_model_loss_or_attack() -> None:
    """A selection is certified only with the model, loss and attack that it was made with."""
    chosen = select(cases.sat_task(24), cases.rcs(), 8)
    assert certify(chosen, cases.sat_task(24)) == chosen.certificate
    with pytest.raises(RequirementError, match="another loss"):
        certify(chosen, cases.sat_task(24, loss="trades"))
    other = cases.built(cases.ConvNet, seed=5)
    with pytest.raises(RequirementError, match="another weights"):
        certify(chosen, cases.sat_task(24, model=other))


def test_an_unknown_renewal_is_refused_when_the_sampler_is_made() -> None:
    """A selector with an unknown `renew` is refused when the sampler is made, and not after the warm-up."""

    class Odd(Redraw):
        renew = "always"

    with pytest.raises(ScheduleError, match="always"):
        CoresetSampler(cases.sat_task(12), Odd(), 3)


@pytest.mark.parametrize(
    ("settings", "capture"),
    [({"certify": "paper", "objective": "adversarial_ce"}, None), ({"certify": "sampled"}, "all")],
)
def test_a_certificate_that_cannot_be_given_is_refused_before_the_sweep(settings: Any, capture: str | None) -> None:
    """Theorem 2 for another objective, and sampled sets of sketched rows, are refused before the sweep."""
    swept: list[str] = []
    task = cases.sat_task(24, capture=capture).reporting(lambda part, done, total: swept.append(part))
    with pytest.raises(RequirementError):
        select(task, RCS(**settings), 8)
    assert swept == []
