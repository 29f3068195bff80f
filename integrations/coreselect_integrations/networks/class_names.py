"""The class names of a saved network against those of a data set: number c must mean the same class in both."""

from __future__ import annotations

from typing import Any

from coreselect.data import names_of
from coreselect.errors import DataError, first_few
from coreselect_integrations.networks.files import Saved


def check_class_names(saved: Saved, dataset: Any, name: str) -> None:
    """Refuse data whose classes have other names, or another order, than those that a network was trained on.

    Networks and data without names are accepted: there is nothing to compare.

    Args:
        name: the data's name in messages.
    Raises:
        DataError: the names differ.
    """
    known, found = saved.classes, names_of(dataset)
    if known is None or found is None or known == found:
        return
    if sorted(known) == sorted(found):
        place = next(i for i, (a, b) in enumerate(zip(known, found, strict=True)) if a != b)
        why = (
            f"{name} numbers its classes in another order than the network's training data: class {place} is "
            f"{found[place]!r} here and {known[place]!r} there; name the classes in one order in both."
        )
        raise DataError(why)
    missing, other = [n for n in known if n not in found], [n for n in found if n not in known]
    said = " and ".join(
        f"{what} {first_few(names, 3)}" for what, names in (("lacks", missing), ("has the unknown", other)) if names
    )
    why = (
        f"{name} has {len(found)} classes and the network was trained on {len(known)} ({first_few(known, 3)}): the data {said}; "
        "give data with the same class names, for an image folder beside its train folder."
    )
    raise DataError(why)
