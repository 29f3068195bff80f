"""What a selection was made from, in words for the title of a picture: the data and the attack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coreselect.task.provenance import ARRAYS
from coreselect.types import Provenance

NORMS = {"linf": "l∞", "l2": "l2", "l1": "l1"}


def made_from(made: Provenance, data: str | None = None) -> str:
    """Return such as `cifar10; attack: PGD, l∞ 8/255, 10 steps`; empty if nothing is known.

    Args:
        made: of the selection.
        data: the name of the data; None: that of the command which made the selection.
    """
    named = data or dict(made.command.get("options") or {}).get("data")
    words = [] if named is None else [Path(str(named)).name or str(named)]
    if made.task and ARRAYS not in made.task:
        words.append(_attack(made.task.get("attack")))
    return "; ".join(words)


def _attack(attack: Any) -> str:
    """Write an attack as it is recorded: a mapping with its type and settings."""
    if attack is None:
        return "no attack"
    if not isinstance(attack, Mapping):
        return f"attack: {attack}"
    words = [str(attack.get("type", "of its own"))]
    radius, steps = attack.get("radius"), attack.get("steps")
    if isinstance(radius, int | float):
        unit = f"{255 * radius:.3g}/255" if list(attack.get("bounds") or ()) == [0.0, 1.0] else f"{radius:.3g}"
        words.append(f"{NORMS.get(str(attack.get('norm')), '')} {unit}".strip())
    if isinstance(steps, int):
        words.append(f"{steps} step{'' if steps == 1 else 's'}")
    return f"attack: {', '.join(words)}"
