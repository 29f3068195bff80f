"""A model's wrappers, such as DistributedDataParallel, as a `call` of the user's sees them while the bare model is used."""

from typing import Any

from torch import nn

from coreselect.protocols import Call, Route

WRAPPED = ("module", "_orig_mod")  # where a wrapper keeps its model


def call_through(wrapped: nn.Module, bare: nn.Module, call: Call) -> Call:
    """Return a call for the bare model under which `m.module` (or `m._orig_mod`) still is what lies inside the wrapper.

    Args:
        wrapped: the model as the user gave it.
        bare: the model inside all its wrappers.
        call: the user's (model, x, route) → output.
    """
    path: list[str] = []
    inside: Any = wrapped
    while inside is not bare:
        path.append(next(n for n in WRAPPED if isinstance(getattr(inside, n, None), nn.Module)))
        inside = getattr(inside, path[-1])

    def through(model: nn.Module, x: Any, route: Route) -> Any:
        return call(_Wrapper(model, path) if path else model, x, route)  # type: ignore[arg-type]  # it acts as the wrapper

    return through if path else call


class _Wrapper:
    """The bare model in the place of its wrapper."""

    def __init__(self, model: nn.Module, path: list[str]) -> None:
        self._model, self._path = model, path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == self._path[0]:
            return _Wrapper(self._model, self._path[1:]) if len(self._path) > 1 else self._model
        return getattr(self._model, name)
