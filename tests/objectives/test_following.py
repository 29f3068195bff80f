"""An objective without an attack of its own follows the attack of the task, and the record says what was used."""

from dataclasses import replace
from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import select
from coreselect.attacks import PGD
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD, AdversarialCE, CEPlusRD, Custom
from coreselect.objectives.following import PUBLISHED, following
from coreselect.selectors import RCS, Mixture, PerClass, Random, RCSSampled
from coreselect.support.records import settings_of

OBJECTIVES: list[Any] = [RD(), RD("js"), AdversarialCE(), CEPlusRD(), Custom(lambda a, n, y: ((a - n) ** 2).sum(1))]


class Far(PGD):
    """A subclass with a constructor of its own."""

    def __init__(self, radius: float) -> None:
        super().__init__(radius, radius, 7, bounds=None)


class Other:
    """An attack that is no PGD."""

    random_start = True

    def __call__(self, ascend: Any, inputs: Any, noise: Any) -> Any:
        return tuple((x + 0.01 * n).clamp(0, 1) for x, n in zip(inputs, noise, strict=True))


@given(
    st.sampled_from(OBJECTIVES), st.floats(0, 50), st.sampled_from(["linf", "l2"]), st.booleans(),
    st.none() | st.tuples(st.floats(-9, 0), st.floats(0.1, 255)),
)  # fmt: skip
def test_it_takes_three_steps_in_the_ball_of_the_task(
    objective: Any, radius: float, norm: Any, half: bool, bounds: Any
) -> None:
    """Ball, norm and bounds are the task's, the steps are the published share of the radius, from a random start."""
    task = PGD(radius, 1.0, 20, norm=norm, random_start=False, bounds=bounds)
    own: Any = following(objective, HalfPrecision(task) if half else task)
    got = own.attack
    assert got == PGD(radius, 1.25 * radius / 3 or 1.0, 3, norm=norm, bounds=bounds)
    assert replace(own, attack=None) == objective, "nothing else changes"


def test_the_published_attack_is_what_follows_the_published_training() -> None:
    """At 8/255 the step is bit for bit 10/765, so selections under the usual attack are as they were."""
    assert following(RD(), PGD(8 / 255, 2 / 255, 10)).attack == PUBLISHED == PGD(8 / 255, 10 / 765, 3)
    assert following(RD(), None).attack == PUBLISHED, "a loss without an attack"


def test_other_attacks() -> None:
    """An attack that is no PGD is used as it is, a subclass keeps its class, and an own attack is kept."""
    other = Other()
    assert following(RD(), other).attack is other  # type: ignore[arg-type]  # a protocol's attribute is a property
    far = following(RD(), Far(3.0)).attack
    assert isinstance(far, Far)
    assert (far.radius, far.steps, far.step, far.bounds) == (3.0, 3, 1.25, None)
    assert following(cases.RD_WEAK, PUBLISHED) is cases.RD_WEAK


@pytest.mark.parametrize(
    ("selector", "place"),
    [
        (RCS(group_size=3), ("objective",)),
        (RCSSampled(), ("objective",)),
        (RCS(AdversarialCE(), group_size=3), ("objective",)),
        (PerClass(RCS(group_size=3)), ("selector", "objective")),
        (Mixture((RCS(group_size=3), Random()), (0.5, 0.5)), ("selectors", 0, "objective")),
    ],
)
def test_the_record_says_which_attack_was_used(selector: Any, place: tuple[Any, ...]) -> None:
    """Provenance holds the attack that was used, also inside combinators, and not None."""
    found: Any = select(cases.sat_task(attack=PGD(0.15, 0.05, 3)), selector, 8).provenance.settings
    for key in place:
        found = found[key]
    assert found["attack"] == settings_of(PGD(0.15, 0.0625, 3))


def test_picks_are_those_of_the_same_attack_given_by_hand() -> None:
    """Without an attack, and with the resolved one, the selections are equal; with the published one they are not."""
    task = cases.sat_task(40, attack=PGD(0.15, 0.05, 3))
    followed = select(task, RCS(group_size=3), 12)
    by_hand = select(task, RCS(RD(attack=PGD(0.15, 0.0625, 3)), group_size=3), 12)
    published = select(task, RCS(RD(attack=PUBLISHED), group_size=3), 12)
    assert followed.gains.tolist() == by_hand.gains.tolist()
    assert followed.gains.tolist() != published.gains.tolist()


def test_half_precision_of_the_task_is_not_the_objectives() -> None:
    """With the task's attack in bfloat16 the query is that of full precision."""
    task = cases.sat_task(attack=HalfPrecision(cases.WEAK), dtype=torch.float32)
    whole = cases.sat_task(attack=cases.WEAK, dtype=torch.float32)
    with task.snapshot(0, 0) as half, whole.snapshot(0, 0) as full:
        queries = [shot.objective(RD()).query(shot.theta()) for shot in (half, full)]
    assert torch.equal(*queries)
