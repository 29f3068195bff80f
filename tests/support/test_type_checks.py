"""Claims about type checks: which values fit an annotation, so that a wrong value is refused before anything is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pytest

from coreselect import get_selector, list_selectors
from coreselect.errors import RequirementError
from coreselect.selectors import SELECTORS
from coreselect.support.type_checks import accepts, annotations_of


class Unseen(Protocol):
    """A protocol that cannot be checked at run time."""


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [3, np.int64(3)], [3.0, True, "3", None]),
        (float, [3, 0.5, np.float32(0.5)], [True, "0.5", None, [0.5]]),
        (bool, [True], [1, "true"]),
        (str, ["a"], [1, None]),
        (int | None, [3, None], [0.5, "none"]),
        (Literal["once", "every"] | int, ["once", 4], ["often", 2.5, True]),
        (Literal[1], [1], [True, 1.0]),
        (list[int], [[1], ["let through"]], [1]),
        (Callable[[int], int] | None, [abs, None], [3]),
        (Any, [3, "a", None], []),
        (Unseen, [3], []),
    ],
)
def test_a_value_fits_its_annotation_or_not(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    """Integers fit float, numpy's numbers fit as Python's do, and booleans do not fit numbers."""
    assert [accepts(hint, value) for value in right] == [True] * len(right)
    assert [accepts(hint, value) for value in wrong] == [False] * len(wrong)


def test_only_readable_dataclasses_have_annotations() -> None:
    """A function has no annotations, and neither has a class whose annotations exist only for type checkers."""

    @dataclass
    class Known:
        k: int = 1

    @dataclass
    class Unknown:
        k: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    assert annotations_of(Known) == {"k": int}
    assert annotations_of(Unknown) == annotations_of(lambda k: k) == {}


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_takes_its_own_defaults(name: str) -> None:
    """The defaults of every selector fit its annotations, and a value of another type is refused by the name of its setting."""
    factory = SELECTORS[name]
    hints = annotations_of(factory)
    given = getattr(factory, "__dataclass_fields__", {})
    for key in given:
        default = getattr(factory, key, None)
        if default is not None:
            assert accepts(hints[key], default), key
    for key in (key for key in given if hints[key] is int):
        with pytest.raises(RequirementError, match=f"the selector {name!r} takes {key} as int, got 2.5"):
            get_selector(name, **{key: 2.5})
    assert name in list_selectors()
