"""Checks of a sampler's state before anything of it is taken over: a state that is refused changes nothing."""

from collections.abc import Mapping
from typing import Any

from coreselect.errors import ScheduleError
from coreselect.support.type_checks import whole


def checked_epoch(state: Any, schedule: Mapping[str, Any], **earlier: Any) -> int | None:
    """Return the epoch of a state, after a look at what it is a state of.

    Args:
        state: what was saved; anything may have been done to it.
        schedule: the settings of the sampler that loads it.
        earlier: what states of earlier versions mean by leaving a setting out.
    Returns:
        the epoch, or None if none had begun.
    Raises:
        ScheduleError: it is no state, it has no epoch, or it was saved with another schedule.
    """
    if not isinstance(state, Mapping):
        raise ScheduleError(
            f"a sampler's state is a dictionary, got {type(state).__name__}: give what state_dict() returned."
        )
    for name, here in schedule.items():
        got = state.get(name, earlier.get(name))
        if not _equal(got, here):
            raise ScheduleError(f"the state has {name} {got!r}, and this sampler has {here!r}.")
    epoch = entry(state, "epoch")
    return None if epoch is None else whole("epoch of the state", epoch, ScheduleError)


def entry(state: Mapping[str, Any], name: str) -> Any:
    """Return an entry of a state.

    Raises:
        ScheduleError: there is none.
    """
    if name not in state:
        raise ScheduleError(f"the state is damaged or edited, it has no {name}: load another state.")
    return state[name]


def _equal(got: Any, here: Any) -> bool:
    try:
        return bool(got == here)
    except (RuntimeError, ValueError):  # a tensor or an array of several values, where a setting is one
        return False
