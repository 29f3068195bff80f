"""Marks on an error: whether all processes of a group know of it, and whether all have listened."""

from typing import TypeVar

Failure = TypeVar("Failure", bound=Exception)


def told(why: Failure) -> Failure:
    """Mark an error that all processes raise or have been told of, so that nobody tells it again."""
    why.told_to_all_ranks = True  # type: ignore[attr-defined]
    return why


def istold(why: BaseException) -> bool:
    """Return whether all processes know of this error."""
    return getattr(why, "told_to_all_ranks", False)


def is_heard(why: BaseException) -> bool:
    """Return whether all processes know of this error and, where only this one says why, have listened in time."""
    return istold(why) and not getattr(why, "unheard", False)
