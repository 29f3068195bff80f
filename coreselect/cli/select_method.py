"""The selector and the attacks that the options of `coreselect select` describe."""

from dataclasses import replace
from typing import Any

from coreselect.attacks import PGD, short_step
from coreselect.certificates.lipschitz import Lipschitz
from coreselect.cli.options import RcsOptions
from coreselect.cli.select_options import MethodOptions
from coreselect.errors import RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.protocols import Attack, Loss, Selector
from coreselect.selectors import Mixture, PerClass
from coreselect.selectors.combinators.per_class import balanced
from coreselect.selectors.combinators.windowed import in_windows
from coreselect.selectors.words import made_from, parts_in

OPTIONS = {  # words of `compare` and `train` for which select has options
    "capture": "--capture", "select_attack_steps": "--attack-steps", "rd_steps": "--rd-steps",
}  # fmt: skip


def make_selector(words: str, method: MethodOptions, rcs: RcsOptions, radius: float) -> Selector:
    """Make the selector that words describe (`coreselect.selectors.words`); options give the settings that the words leave out.

    Raises:
        RequirementError: the words cannot be read, or set what an option is for or sets too; or the objective is unknown, or a
            part combines other selectors.
        ShapeError: --window or --balance has another form, or --window contradicts --group-size.
        UnknownNameError: no selector has that name.
    """
    parts = parts_in(words)
    _refuse_words(words, parts, method)
    attack = _pgd(radius, 3 if rcs.rd_steps is None else rcs.rd_steps)
    every = [made_from(name, given, _settings(name, method, rcs), attack) for name, given in parts]
    made = every[0] if len(every) == 1 else Mixture(every)
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


def _refuse_words(words: str, parts: list[tuple[str, dict[str, Any]]], method: MethodOptions) -> None:
    """Refuse words for what an option says.

    Raises:
        RequirementError: there are some.
    """
    twice = {"window": method.window, "balance": method.balance or (method.per_class or None)}
    for _, given in parts:
        for key in given:
            if key in OPTIONS:
                raise RequirementError(f"{words!r} sets {key}, which is an option of select: give {OPTIONS[key]}.")
            if twice.get(key) is not None:
                raise RequirementError(f"{words!r} sets {key}, and an option divides the pool too: give one.")


def _settings(name: str, method: MethodOptions, rcs: RcsOptions) -> dict[str, Any]:
    """Collect the settings that the named selector takes."""
    objective = {"objective": method.objective, "divergence": method.divergence}
    if name == "rcs_sampled":
        return objective
    if name != "rcs":
        return {}
    return {
        **objective,
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
        raise RequirementError(f"--lipschitz is five numbers separated by commas, L1,L2,L3,L4,M, got {text!r}.")
    return Lipschitz(*numbers)


def _pgd(radius: float, steps: int) -> PGD:
    """Return PGD whose steps are 1¼ radii in all, as published: 10/255 at a radius of 8/255."""
    return PGD(radius, short_step(radius, steps), steps)
