"""Views of a whole batch at once, where each example has the draws that it has alone.

A function that makes views is called for one example at a time, with a generator of that example. On a GPU the launches of
so many small operations take most of the time. A function may come with a second one, which makes the same views for a
batch: `for_each(x [B, …], seeds)` gives, for every i, what `views(x[i:i+1], generator)` gives with a generator of seed i.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from coreselect.errors import RequirementError, ShapeError
from coreselect.protocols import BatchedViews, Loss, MakeViews, Views
from coreselect.support.seeding import seed_everything
from coreselect.support.structure import joined, taken

ForEach = Callable[..., Views]  # (x [B, …], B seeds, the settings of the views) -> views, each [B, …]


def with_batches(for_each: ForEach) -> Callable[[Any], Any]:
    """Mark a function that makes views with the function that makes the same views for a batch; use it as a decorator."""

    def mark(views: Any) -> Any:
        views.__dict__["for_each"] = _Marked(views, for_each)
        return views

    return mark


class _Marked:
    """The batched form of a function; `functools.wraps` copies it to wrappers, which `of` tells from the function."""

    def __init__(self, of: Any, for_each: ForEach) -> None:
        self.of, self.for_each = of, for_each

    def __call__(self, x: Any, seeds: Sequence[int], **settings: Any) -> Views:
        return self.for_each(x, seeds, **settings)


def batched(views: Any) -> ForEach | None:
    """Return the function that makes these views for a batch, also for a `partial` with keywords; None if there is none."""
    if isinstance(views, partial):
        inner = None if views.args else batched(views.func)
        return None if inner is None else partial(inner, **views.keywords)
    if not isinstance(views, BatchedViews):
        return None
    found: Any = views.for_each
    return None if isinstance(found, _Marked) and found.of is not views else found


def views_of(x: Any, views: MakeViews | None, loss: Loss, seeds: Sequence[int]) -> Views:
    """Make the views of a batch of inputs, each example with its own draws: [B, …] → as many [B, …] as the loss reads.

    Args:
        views: makes the views of one example, or None for the inputs themselves.
        seeds: one for each example.
    Raises:
        RequirementError: the loss reads several views, and nothing makes them.
        ShapeError: another number of views was made.
    """
    if views is None:
        if loss.views != 1:
            raise RequirementError(
                f"the loss {loss.name!r} reads {loss.views} views of an example: give views=lambda x, generator: …."
            )
        return (x,)
    for_each = batched(views)
    made = [] if for_each is None else [for_each(x, seeds)]
    generator = torch.Generator()
    for i, s in enumerate(seeds if for_each is None else ()):
        seed_everything(s)  # a view function may also draw from a global state
        made.append(views(taken(x, slice(i, i + 1)), generator.manual_seed(s)))
    if any(not isinstance(m, tuple | list) or len(m) != loss.views for m in made):
        got = len(made[0]) if isinstance(made[0], tuple | list) else type(made[0]).__name__
        raise ShapeError(f"views= must return a tuple of {loss.views} tensors for the loss {loss.name!r}, got {got}.")
    return tuple(joined(each) for each in zip(*made, strict=True))
