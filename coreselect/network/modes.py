"""Evaluation mode and back, also for layers whose `train()` and `eval()` do more than set a flag.

Layers that merge a low-rank part into their weight, or that join their branches, do so in their own `eval()` and undo it in
their own `train()`. So these methods are called on the way in and on the way out, and afterwards everything below such a layer
gets its own parameters, contents and attributes back, bit for bit. Rounding would otherwise move the weights: (w + v) − v ≠ w.
Modules without such methods only have their flag set, and nothing of them is copied.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.support.interruptions import whole

_TABLES = ("_parameters", "_buffers", "_modules")


@contextmanager
@whole
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and put every mode and content back afterwards, also when the body raises."""
    modes = [(m, m.training) for m in model.modules()]
    switching = {id(below): below for m, _ in modes if _has_own_switch(m) for below in m.modules()}
    kept = [_Kept(m) for m in switching.values()]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for m, _ in modes:  # a module comes before those inside it
                if m.training:
                    _switch(m, False)
        yield
    finally:
        try:
            with torch.inference_mode(False), torch.no_grad():
                for m, mode in modes:
                    if m.training != mode:
                        _switch(m, mode)
        finally:
            for one in kept:
                one.put_back()
            for m, mode in modes:
                if m.training != mode:
                    m.training = mode


def _has_own_switch(m: nn.Module) -> bool:
    """Return whether the module's class, or the module itself, replaces `train` or `eval`."""
    return any(getattr(getattr(m, n), "__func__", None) is not getattr(nn.Module, n) for n in ("train", "eval"))


def _switch(m: nn.Module, mode: bool) -> None:
    """Change the mode of one module: by its own methods if it has some, else by its flag."""
    if not _has_own_switch(m):
        m.training = mode
    elif mode:
        m.train()
    else:
        m.eval()


class _Kept:
    """One module as it was: its attributes, its tables of parameters, buffers and modules, and copies of the contents."""

    def __init__(self, m: nn.Module) -> None:
        self.module = m
        self.attributes: dict[str, Any] = dict(vars(m))
        self.tables = {name: dict(getattr(m, name)) for name in _TABLES}
        held = [t for name in _TABLES[:2] for t in self.tables[name].values() if isinstance(t, Tensor)]
        self.contents = [(t, t.data, t.detach().clone()) for t in held if not nn.parameter.is_lazy(t)]

    def put_back(self) -> None:
        """Put everything back. Writing through `.data` leaves version counters alone, so a pending backward pass is valid."""
        own = vars(self.module)
        for name in [n for n in own if n not in self.attributes]:
            del own[name]
        own.update(self.attributes)
        for name, table in self.tables.items():
            now = own[name]
            if _differ(now, table):
                now.clear()
                now.update(table)
        with torch.inference_mode(False), torch.no_grad():
            for t, data, copy in self.contents:
                if t.data_ptr() != data.data_ptr() or t.shape != data.shape or t.stride() != data.stride():
                    t.data = data
                t.data.copy_(copy)


def _differ(now: dict[str, Any], was: dict[str, Any]) -> bool:
    """Return whether two tables differ in names, order or objects."""
    return list(now) != list(was) or any(now[n] is not was[n] for n in was)
