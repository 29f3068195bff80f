"""Views of a whole batch at once, where each example has the draws that it has alone.

A function that makes views is called for one example at a time, with a generator of that example. On a GPU the launches of
so many small operations take most of the time. A function may come with a second one, which makes the same views for a
batch: `for_each(x [B, …], seeds)` gives, for every i, what `views(x[i:i+1], generator)` gives with a generator of seed i.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from coreselect.protocols import BatchedViews, Views

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
