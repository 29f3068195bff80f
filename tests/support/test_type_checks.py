"""Which values stand where an annotation does, so that a word typed by a user is refused before anything is computed."""

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
    """A protocol that says nothing at run time."""


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
def test_a_value_is_of_its_kind_or_not(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    """Whole numbers serve as floats, numpy's as Python's; truth values are no numbers."""
    assert [accepts(hint, value) for value in right] == [True] * len(right)
    assert [accepts(hint, value) for value in wrong] == [False] * len(wrong)


def test_only_dataclasses_that_can_be_read_have_hints() -> None:
    """A function has none, nor a class that names what is imported for type checkers alone."""

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
    """What a constructor sets by itself is of the kinds that it asks for; a value of another kind is refused by its name."""
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
