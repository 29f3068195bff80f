"""The selector and the attacks that the options of `coreselect select` describe."""

from dataclasses import replace
from typing import Any

from coreselect.attacks import PGD, short_step
from coreselect.certificates.lipschitz import Lipschitz
from coreselect.cli.options import RcsOptions
from coreselect.cli.select_options import MethodOptions
from coreselect.errors import RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import objective_named
from coreselect.protocols import Attack, Loss, Selector
from coreselect.selectors import COMBINATORS, PerClass, get_selector
from coreselect.selectors.combinators.per_class import balanced
from coreselect.selectors.combinators.windowed import in_windows


def make_selector(name: str, method: MethodOptions, rcs: RcsOptions, radius: float) -> Selector:
    """Make the named selector.

    Raises:
        RequirementError: the objective is unknown, or the selector is made of other selectors.
        ShapeError: --window or --balance has another form, or --window contradicts --group-size.
        UnknownNameError: no selector has that name.
    """
    if name in {c.name for c in COMBINATORS}:
        raise RequirementError(f"{name!r} combines other selectors: use it from Python, or --per-class or --window.")
    made = get_selector(name, **_settings(name, method, rcs, radius))
    made = made if method.window is None else in_windows(made, method.window)
    if method.per_class and method.balance is not None:
        raise RequirementError(
            "--per-class keeps the pool's shares of the classes, and --balance makes them equal: give one."
        )
    if method.balance is not None:
        return balanced(made, method.balance)
    return PerClass(made) if method.per_class else made


def training_attack(loss: Loss, radius: float, steps: int | None) -> Attack | None:
    """Return the attack of the loss at this radius, or one of so many steps; None for a loss without an attack."""
    own = loss.default_attack
    if own is None:
        return None
    if steps is not None:
        return _pgd(radius, steps)
    return replace(own, radius=radius, step=own.step * radius / own.radius or 1.0) if isinstance(own, PGD) else own


def _settings(name: str, method: MethodOptions, rcs: RcsOptions, radius: float) -> dict[str, Any]:
    """Collect the settings that the named selector takes."""
    steps = 3 if rcs.rd_steps is None else rcs.rd_steps
    attack = _pgd(radius, steps)
    objective = objective_named(method.objective, method.divergence, attack=attack)
    if name == "rcs_sampled":
        return {"objective": objective}
    if name != "rcs":
        return {}
    return {
        "objective": objective,
        "eta": rcs.eta,
        "group_size": method.group_size,
        "stratify": None if method.stratify == "none" else method.stratify,
        "recraft": int(method.recraft) if method.recraft.isdigit() else method.recraft,
        "search": method.search,
        "sketch": None if method.sketch is None else Sketch(method.sketch),
        "certify": None if method.certify == "none" else method.certify,
        "sigma": method.sigma if method.lipschitz is None else lipschitz(method.lipschitz),
    }


def lipschitz(text: str) -> Lipschitz:
    """Read `L1,L2,L3,L4,M`.

    Raises:
        RequirementError: they are not five numbers in range.
    """
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 5:
        raise RequirementError(f"--lipschitz is five numbers with commas between them, L1,L2,L3,L4,M, got {text!r}.")
    return Lipschitz(*numbers)


def _pgd(radius: float, steps: int) -> PGD:
    """Return PGD whose steps are 1¼ radii in all, as published: 10/255 at a radius of 8/255."""
    return PGD(radius, short_step(radius, steps), steps)
