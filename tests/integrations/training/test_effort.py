"""The effort of a training attack: its words, the size of its steps, N-FGSM, and the settings of a run with it."""

from dataclasses import replace

import oracles
import pytest
import torch
from torch import Tensor

from coreselect.attacks import PGD
from coreselect.errors import OutOfBoundsError, RequirementError, ShapeError, UnknownNameError
from coreselect.network.precision import attack_in
from coreselect_integrations.pretraining.efforts import guarded, with_effort, with_steps
from coreselect_integrations.pretraining.presets import defaults, preset
from coreselect_integrations.training.effort import Effort, in_radii, usual_step
from coreselect_integrations.training.nfgsm import NFGSM

R = 8 / 255
X = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NOISE = torch.rand(X.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1


def curved(x: Tensor) -> Tensor:
    """A loss whose slope changes its sign inside the ball, and is 0 for one entry."""
    return torch.sin(40 * x).sum() - torch.sin(40 * x[0, 0, 0])


@pytest.mark.parametrize(("steps", "k"), [(0, 2.0), (1, 2.0), (1, 0.0), (3, 1.0)])
def test_nfgsm_is_its_definition(steps: int, k: float) -> None:
    """Entry by entry: wide noise, signed steps, clipped to the bounds and not to the ball."""
    (got,) = NFGSM(0.1, 0.1, steps, noise=k)(lambda views: curved(views[0]), (X,), (NOISE,))
    assert torch.allclose(got, oracles.nfgsm(curved, X, NOISE, 0.1, 0.1, steps, k), rtol=0, atol=1e-12)


def test_nfgsm_leaves_the_ball_and_stays_in_the_bounds() -> None:
    """‖x̃ − x‖∞ exceeds r and never kr + α, and every entry is in [0, 1]."""
    (got,) = NFGSM(0.1, 0.1)(lambda views: curved(views[0]), (X,), (NOISE,))
    assert 0.1 < (got - X).abs().max() <= 0.3
    assert got.min() >= 0
    assert got.max() <= 1


def test_nfgsm_refuses_what_is_out_of_range() -> None:
    """A step of 0, a negative noise, bounds the wrong way round, and inputs outside the bounds."""
    for wrong in ({"step": 0.0}, {"noise": -1.0}, {"bounds": (1.0, 0.0)}, {"steps": -1}):
        with pytest.raises(ShapeError):
            NFGSM(**{"radius": 0.1, "step": 0.1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(OutOfBoundsError):
        NFGSM(0.1, 0.1)(lambda views: curved(views[0]), (X + 1,), (NOISE,))


@pytest.mark.parametrize(
    ("words", "effort"),
    [
        ("5", Effort(5)), ("1x1.5", Effort(1, 1.5)), ("2x.5", Effort(2, 0.5)), ("1x1-nfgsm", Effort(1, 1.0, "nfgsm")),
        ("1-uniform", Effort(1, None, "uniform")),
    ],
)  # fmt: skip
def test_an_effort_is_read_from_its_words(words: str, effort: Effort) -> None:
    """Steps, then a factor of the judged radius, then a start."""
    assert Effort.parse(words) == effort


@pytest.mark.parametrize(
    "words", ["", "0", "x1.5", "1x", "1x0", "1x1.5x2", "1-", "1-pgd", "1.5", "-1", "1x-1", "9999999"]
)
def test_other_words_are_no_effort(words: str) -> None:
    """They are refused in a sentence that shows the form."""
    with pytest.raises(RequirementError, match="effort"):
        Effort.parse(words)


def test_steps_are_two_and_a_half_radii_in_all_and_never_longer_than_one_and_a_quarter() -> None:
    """The step of 1, 2, 5 and 10 steps; N-FGSM walks a radius in all."""
    assert [usual_step(1.0, n) for n in (1, 2, 5, 10)] == [1.25, 1.25, 0.5, 0.25]
    assert [usual_step(1.0, n, "nfgsm") for n in (1, 2)] == [1.0, 0.5]
    assert usual_step(0.0, 1) > 0  # an attack needs a step, even without a radius


def test_a_size_is_a_number_or_a_factor() -> None:
    """`1.5x` is in radii; anything else than a finite number above 0 is refused."""
    assert in_radii("1.5x", 0.1, "--step") == pytest.approx(0.15)
    assert in_radii("0.02", 0.1, "--step") == in_radii(0.02, 0.1, "--step") == 0.02
    for wrong in ("x", "fast", "0", "-1x", "inf", "nan"):
        with pytest.raises(RequirementError, match="--step"):
            in_radii(wrong, 0.1, "--step")


def test_an_effort_changes_the_training_attack_and_not_the_judge() -> None:
    """`1x1.5`: one step of 1.25 training radii; the radius, and the attack of RD within it, are as before."""
    run = defaults("sat")
    cheap = with_effort(run, Effort(1, 1.5))
    assert cheap.attack == PGD(1.5 * R, 1.25 * 1.5 * R, 1)
    assert (cheap.radius, cheap.rd) == (run.radius, run.rd)
    assert cheap.select_attack == PGD(1.5 * R, 1.25 * 1.5 * R, 1)  # gradients of the loss that is trained
    assert with_effort(run, Effort(5)) == replace(run, attack_steps=5, step=usual_step(R, 5))
    assert with_effort(cheap, Effort(2, 1.0)).train_radius is None
    assert with_effort(run, Effort(1, 1.0, "nfgsm")).attack == NFGSM(R, R, 1)
    half = replace(with_effort(run, Effort(1, 1.0, "nfgsm")), select_attack_steps=None, precision="bf16")
    assert half.select_attack == attack_in(NFGSM(R, R, 1), "bf16")


def test_more_steps_are_no_longer_than_before() -> None:
    """From one step on: 1¼ radii, 1¼, ⅚; those of N-FGSM share the length of the first."""
    one = with_effort(defaults("sat"), Effort(1, 1.5))
    sizes = [with_steps(one, n).step / (1.5 * R) for n in (1, 2, 3)]
    assert sizes == pytest.approx([1.25, 1.25, 2.5 / 3])
    wide = with_effort(defaults("sat"), Effort(1, 1.0, "nfgsm"))
    assert [with_steps(wide, n).step / R for n in (1, 2)] == pytest.approx([1.0, 0.5])


def test_cheap_attacks_of_supervised_systems_are_guarded() -> None:
    """One and two steps are, unless the settings say no; contrastive systems and natural training never are."""
    sat = defaults("sat")
    assert [guarded(with_effort(sat, Effort(n))) for n in (1, 2, 3, 10)] == [True, True, False, False]
    assert guarded(replace(sat, guard=True))
    assert not guarded(replace(with_effort(sat, Effort(1)), guard=False))
    assert not guarded(replace(defaults("acl"), guard=True))
    assert not guarded(replace(defaults("standard"), guard=True))


def test_the_fast_preset_trains_wider_than_it_is_judged() -> None:
    """One step of 1¼ training radii from a random start, within 1½ times the judged radius, at a rate of 0.1."""
    fast = preset("cifar10-sat-fast")
    assert fast.attack == PGD(1.5 * R, 1.25 * 1.5 * R, 1)
    assert (fast.radius, fast.lr, guarded(fast)) == (R, 0.1, True)


def test_a_start_has_a_name() -> None:
    """Another name is refused."""
    with pytest.raises(UnknownNameError, match="uniform and nfgsm"):
        replace(defaults("sat"), start="zero")
