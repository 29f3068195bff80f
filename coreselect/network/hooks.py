"""Hooks for a while: they are registered where an error finds them, and none is left behind."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from coreselect.support.interruptions import whole


@contextmanager
@whole
def hooked(registrations: Iterable[Callable[[], Any]]) -> Iterator[None]:
    """Register hooks while the block runs.

    Args:
        registrations: each registers one hook, and returns its handle.
    """
    handles: list[Any] = []
    try:
        for register in registrations:
            handles.append(register())  # one that fails must leave the others in the list
        yield
    finally:
        for handle in handles:
            handle.remove()
