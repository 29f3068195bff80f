"""What a run in a folder checks: its settings against those of the folder, the checkpoint, and whether its parts are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from coreselect.errors import DataError
from coreselect.loop.epoch_sampler import EpochSampler

# what torch's optimisers keep of a parameter in its own shape
ELEMENTWISE = frozenset({
    "acc_delta", "exp_avg", "exp_avg_sq", "exp_inf", "grad_avg", "max_exp_avg_sq", "momentum_buffer", "prev", "square_avg", "sum",
})  # fmt: skip
BEGUN = "begun"  # in a checkpoint: how many epochs were done when the run began from another; files of older versions lack it
COMPARED_FIRST = ("system", "mode", "selector")  # these tell most about a run: their difference is reported first


def differences(kept: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, kept value, new value) of every setting that differs; nested settings have dotted names."""
    for name in sorted(kept.keys() | now.keys(), key=lambda n: (n not in COMPARED_FIRST, n)):
        one, two = kept.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from differences(one, two, f"{within}{name}.")
        elif one != two:
            yield within + name, one, two


def all_finite(part: object) -> bool:
    """Say whether every tensor of a module is finite; other parts are not checked."""
    return not isinstance(part, nn.Module) or all(bool(t.isfinite().all()) for t in part.state_dict().values())


def checked(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a run, if its records are those of the epochs 0, 1, … and its other entries are dictionaries.

    Raises:
        ValueError: they are not.
    """
    for name in ("settings", "parts", "rng"):
        if not isinstance(state[name], Mapping):
            raise ValueError(f"its {name} are {type(state[name]).__name__}, and a dictionary is needed")
    records = state["records"]
    if not isinstance(records, list | tuple):
        raise ValueError(f"its records are {type(records).__name__}, and a list is needed")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping) or type(record.get("epoch")) is not int or record["epoch"] != number:
            raise ValueError(f"its record of epoch {number} is missing or another")
    if type(state[BEGUN]) is not int or not 0 <= state[BEGUN] <= len(records):
        raise ValueError(f"it began after {state[BEGUN]!r:.60} epochs, and has {len(records)}")
    return state


@contextmanager
def fitting(path: Path, name: str) -> Iterator[None]:
    """Say that a checkpoint holds no state of a part that fits, where restoring it fails.

    Raises:
        DataError: it does.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, OverflowError) as why:
        reason = " ".join(str(why).split())[:160].rstrip(".")
        raise DataError(f"{path} holds no state of {name} that fits ({reason}): remove it to begin anew.") from why


def check_part(part: object, done: int | None, begun: int) -> None:
    """Check what a restored part does not check itself.

    An optimiser takes tensors of any shape, and a sampler the state of any epoch.

    Args:
        done: how many epochs the run has done; None: the part is of another run.
        begun: how many of them another run has done, from which it began: its sampler may not have seen these.
    Raises:
        ValueError: the state is not of this part, or not of that epoch.
    """
    if (
        isinstance(part, EpochSampler)
        and done
        and part.epoch != done - 1
        and not (part.epoch is None and done == begun)
    ):
        raise ValueError(f"it is of epoch {part.epoch}, and the last record of epoch {done - 1}")
    if not isinstance(part, Optimizer):
        return
    for parameter, kept in part.state.items():
        if not isinstance(parameter, Tensor):  # what an optimiser keeps of all parameters
            continue
        if not isinstance(kept, Mapping):
            raise ValueError(f"what it keeps of a parameter is {type(kept).__name__}")
        for name, value in kept.items():
            fits = value is None or (isinstance(value, Tensor) and value.shape == parameter.shape)
            if name in ELEMENTWISE and not fits:
                got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"{name} is {got}, and its parameter is {list(parameter.shape)}")
            if name == "step" and not (isinstance(value, Real) or (isinstance(value, Tensor) and value.numel() == 1)):
                raise ValueError(f"step is {value!r:.60}, and a number is needed")
