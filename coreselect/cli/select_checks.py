"""What `coreselect select` refuses before a warm-up or a sweep, and whose error it is where methods are several."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from coreselect.choosing import check_request
from coreselect.errors import CoreselectError, RequirementError
from coreselect.protocols import Selector
from coreselect.task.dry_probe import dry_probe
from coreselect.task.task import Task

RECORDED = frozenset({"history", "losses"})  # what training alone can give


def refuse_recorded(pickers: Mapping[str, Selector]) -> None:
    """Refuse methods that read what training has recorded: here nothing trains.

    Args:
        pickers: by the words of the user.
    Raises:
        RequirementError: there is one.
    """
    for words, picker in pickers.items():
        if RECORDED & picker.requires:
            raise RequirementError(
                f"{words!r} reads what training has recorded of each example, and a selection alone has no record: choose while "
                f"training, `coreselect train SYSTEM --selector {words}`, or from Python with Task.from_model(history=...)."
            )


def refuse_early(task: Task, pickers: Mapping[str, Selector], budget: float, seed: int, *, probe: bool = False) -> None:
    """Refuse what a selection would refuse, by what is known without a sweep over the pool.

    Args:
        task: of the selections, or one with the same data and a network that is not trained yet.
        pickers: by the words of the user.
        budget, seed: as for `coreselect.select`.
        probe: whether the network is run on the first items, too.
    Raises:
        CoreselectError: as `coreselect.select` says, and as `dry_probe` says; see `named`.
    """
    for words, picker in pickers.items():
        with named(words, among=len(pickers)):
            check_request(task, picker, budget, seed)
            if probe:
                dry_probe(task, picker.requires)


@contextmanager
def named(words: str, *, among: int) -> Iterator[None]:
    """Let an error of the block say the words of its method, if there are several methods.

    An error of ours begins with them; another one, such as that of a user's network, has them in a note.
    """
    try:
        yield
    except CoreselectError as why:
        if among > 1:
            why.args = (f"{words}: {why}", *why.args[1:])
        raise
    except Exception as why:  # of the user's code, which may raise anything
        if among > 1:
            why.add_note(f"while {words} chose")
        raise
