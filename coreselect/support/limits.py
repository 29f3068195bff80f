"""What one selection may need, and the refusal of more before any time or memory is taken.

    seconds = products / 4·10¹⁰ + bytes read / 10¹⁰

which is about what two cores do: products are multiply-adds in float32, and bytes are those that passes over the pool read.
By default a method may need an hour and 8 GiB beside the arrays of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coreselect.errors import RequirementError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

PRODUCTS_A_SECOND = 4e10
BYTES_A_SECOND = 1e10


@dataclass(frozen=True)
class Limits:
    """The most that one selection may need."""

    hours: float = 1.0
    gib: float = 8.0


@dataclass(frozen=True)
class Needs:
    """What a method needs, roughly.

    Attributes:
        products: multiply-adds in float32.
        read: bytes that passes over the pool read.
        memory: bytes beside the arrays of the task.
        way_out: what to do instead, for the message.
    """

    products: float = 0.0
    read: float = 0.0
    memory: float = 0.0
    way_out: str = "choose class by class (per_class) or in windows (windowed)"

    @property
    def hours(self) -> float:
        """The estimated time on two cores."""
        return (self.products / PRODUCTS_A_SECOND + self.read / BYTES_A_SECOND) / 3600

    @property
    def gib(self) -> float:
        """The memory in GiB."""
        return self.memory / 2**30


_limits: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039  # it is frozen


@contextmanager
def limits(*, hours: float | None = None, gib: float | None = None) -> Iterator[Limits]:
    """Allow selections in this block more (or less) than an hour of two cores and 8 GiB.

        with coreselect.limits(hours=12, gib=64):
            selection = coreselect.select(task, coreselect.get_selector("facility_location"), 0.05)

    Args:
        hours: > 0; None: as before.
        gib: > 0, memory beside the arrays of the task; None: as before.
    Raises:
        ShapeError: a limit is not above 0.
    """
    now = _limits.get()
    new = Limits(now.hours if hours is None else hours, now.gib if gib is None else gib)
    if not (new.hours > 0 and new.gib > 0):
        raise ShapeError(f"limits must be above 0, got {_hours(new.hours, '')} and {new.gib} GiB.")
    token = _limits.set(new)
    try:
        yield new
    finally:
        _limits.reset(token)


def refuse_beyond(name: str, needs: Needs, n: int) -> None:
    """Raise an error if a method needs more than the limits allow.

    Args:
        name: of the method.
        n: the number of examples it chooses from.
    Raises:
        RequirementError: see above; the sentence gives the need, the limit and the way out.
    """
    allowed = _limits.get()
    if needs.hours <= allowed.hours and needs.gib <= allowed.gib:
        return
    raise RequirementError(
        f"{name!r} needs about {_hours(needs.hours, '.2g')} of two cores and {needs.gib:.2g} GiB for {n:,} examples, and the "
        f"limits are {_hours(allowed.hours)} and {allowed.gib:g} GiB: {needs.way_out}, or allow more (coreselect.limits)."
    )


def read_within(
    read: Callable[[], Tensor], width: int | None, needs: Callable[[int], Needs], name: str, n: int
) -> Tensor:
    """Read a matrix [n, W] whose width says what a method needs, and refuse above the limits: before that if W is known.

    Args:
        width: W, or None.
        needs: W → what the method needs.
        name, n: see `refuse_beyond`.
    Raises:
        RequirementError: it needs more than the limits allow.
    """
    if width is not None:
        refuse_beyond(name, needs(width), n)
    found = read()
    if width is None:
        refuse_beyond(name, needs(found.shape[1]), n)
    return found


def _hours(hours: float, digits: str = "g") -> str:
    """Write `1 hour` or `2.5 hours`."""
    written = f"{hours:{digits}}"
    return f"{written} hour{'' if written == '1' else 's'}"
