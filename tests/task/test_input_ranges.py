"""Where an attack is certain to act, the range of the first inputs is looked at before any training; elsewhere never."""

from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import CoresetSampler, get_selector, select
from coreselect.attacks import PGD
from coreselect.errors import OutOfBoundsError, ShapeError
from coreselect.gradients.rows import single_examples
from coreselect.losses import CE
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.selectors import RCS, Mixture, PerClass, Random, Windowed

RANGES = st.tuples(st.floats(-300, 300), st.floats(0.1, 300)).filter(lambda r: r[0] < -0.01 or r[0] + r[1] > 1.01)


def moved(n: int, seen: tuple[float, float], *, seed: int = 0) -> cases.Items:
    """Labelled images that reach from seen[0] over a width of seen[1], each of them."""
    x = cases.images(n, seed=seed)
    low, high = x.flatten(1).amin(1).view(-1, 1, 1, 1), x.flatten(1).amax(1).view(-1, 1, 1, 1)
    return cases.Items(seen[0] + (x - low) / (high - low) * seen[1], cases.classes(n, seed=seed))


def task(seen: tuple[float, float], **settings: Any) -> Any:
    """A supervised task on inputs of this range."""
    return cases.sat_task(pool=moved(24, seen), validation=moved(10, seen, seed=3), **settings)


ATTACKING = [
    cases.rcs(), get_selector("rcs_sampled"), get_selector("acs_craig"), get_selector("acs_gradmatch"),
    get_selector("margin_adv"), get_selector("el2n_adv"), PerClass(cases.rcs()), Windowed(RCS(), 12),
    Mixture((Random(), cases.rcs()), (0.5, 0.5)),
]  # fmt: skip
PEACEFUL = ["random", "rs2", "k_center", "herding", "craig", "grand", "margin", "el2n", "moderate", "less", "glister"]


@given(RANGES, st.sampled_from(ATTACKING), st.booleans())
def test_a_sampler_refuses_before_the_warm_up(seen: tuple[float, float], selector: Any, half: bool) -> None:
    """Ranges outside the bounds are refused where the sampler is made, and by `select`, before anything is swept."""
    attack = HalfPrecision(cases.WEAK) if half else cases.WEAK
    made = task(seen, attack=attack)
    with pytest.raises(OutOfBoundsError, match="bounds=None"):
        CoresetSampler(made, selector, 8, warmup=50)
    with pytest.raises(OutOfBoundsError, match="bounds=None"):
        select(made, selector, 8)


@pytest.mark.parametrize("name", PEACEFUL)
def test_a_selector_that_attacks_nothing_asks_for_no_range(name: str) -> None:
    """Selectors of natural inputs choose from normalised images, under the loss `sat` too."""
    assert len(select(task((-2.0, 4.5)), get_selector(name), 8)) == 8


def test_validation_alone_outside_the_bounds_is_refused() -> None:
    """Where only the validation images are normalised, the message says so."""
    made = cases.sat_task(pool=moved(24, (0, 1)), validation=moved(10, (-2, 4)))
    with pytest.raises(OutOfBoundsError, match=r"^validation inputs lie in"):
        CoresetSampler(made, RCS(), 8)


def test_a_later_image_outside_the_bounds_is_refused_by_the_attack() -> None:
    """The first image is inside, the last one is not: the attack itself refuses, whichever position it has."""
    x = cases.images(24)
    x[-1] *= 3
    made = cases.sat_task(pool=cases.Items(x, cases.classes(24)))
    with pytest.raises(OutOfBoundsError, match=r"outside the bounds \[0, 1\]"):
        select(made, cases.rcs(), 8)


@given(RANGES)
def test_a_radius_of_nothing_gives_the_natural_rows_in_any_range(seen: tuple[float, float]) -> None:
    """Without bounds, rows of SAT at radius 0 are autograd's rows of natural cross-entropy, and selection works."""
    made = task(seen, attack=PGD(0.0, 1.0, 2, bounds=None))
    with made.snapshot(0, 0) as attacked, made.snapshot(0, 0) as natural:
        rows, _ = attacked.rows(single_examples(24))
        plain, _ = natural.with_loss(CE()).rows(single_examples(24))
        for i in range(0, 24, 5):
            assert torch.allclose(rows.full(i), plain.full(i), rtol=0, atol=1e-12)
    model = made.model
    x, y = made.pool[5]
    loss = torch.nn.functional.cross_entropy(model(x[None]), torch.tensor([y]))
    weight, bias = torch.autograd.grad(loss, [model.fc.weight, model.fc.bias])
    assert torch.allclose(rows.full(5), torch.cat([weight.flatten(), bias]), rtol=0, atol=1e-12)


@given(RANGES)
def test_without_bounds_a_selection_in_any_range_is_made(seen: tuple[float, float]) -> None:
    """One attack without bounds serves the pool and the objective."""
    made = task(seen, attack=PGD(0.05 * seen[1], 0.02 * seen[1], 2, bounds=None))
    chosen = select(made, RCS(group_size=3, certify=None), 8)
    assert chosen.provenance.settings["objective"]["attack"]["bounds"] is None


def test_an_objective_with_bounds_of_its_own_is_looked_at() -> None:
    """The task's attack has no bounds, the objective's has: its validation images are refused."""
    made = task((-2.0, 4.0), attack=PGD(0.1, 0.05, 1, bounds=None))
    with pytest.raises(OutOfBoundsError, match=r"^validation inputs"):
        CoresetSampler(made, RCS(RD(attack=cases.WEAK)), 8)


@pytest.mark.parametrize("shift", [-2.0, 1.5])
def test_views_that_leave_the_bounds_are_refused_before_the_warm_up(shift: float) -> None:
    """The images are inside and a view is not: the first items' views are looked at where the sampler is made."""
    made = cases.acl_task(24, views=lambda x, generator: (x, x + shift))
    with pytest.raises(OutOfBoundsError, match=r"^views of pool inputs lie in"):
        CoresetSampler(made, cases.rcs(), 8, warmup=50)


@pytest.mark.parametrize(("made", "kind"), [(lambda x: x, "Tensor"), (lambda x: None, "NoneType")])
def test_views_that_are_no_tuple_are_refused_when_the_task_is_made(made: Any, kind: str) -> None:
    """One tensor would be taken apart along its batch."""
    with pytest.raises(ShapeError, match=rf"views= returned a {kind} for an input, and a tuple"):
        cases.acl_task(24, views=lambda x, generator: made(x))


def test_views_that_come_into_the_bounds_are_accepted() -> None:
    """Images in 0…255 whose views are divided by 255 are attacked as they should be."""
    pool = cases.Items(cases.images(24) * 255, cases.classes(24))
    made = cases.acl_task(24, pool=pool, views=lambda x, generator: (x / 255, x.flip(-1) / 255))
    assert len(select(made, cases.rcs(), 8)) == 8
