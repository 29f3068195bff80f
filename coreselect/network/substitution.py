"""Other values in the place of a model's parameters, for one pass, or for a forward and its backward pass.

`torch.func.functional_call` leaves other tensors in the model where one module has two names. Here every place of a parameter
is found once, by identity, and gets its parameter back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from coreselect.protocols import Params
from coreselect.support.interruptions import whole


class Substitution:
    """Where the named parameters of a model stand, under whatever names and in whatever modules.

    Args:
        names: of the parameters, as the model's `named_parameters` has them.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        known = dict(model.named_parameters())
        wanted = {id(known[n]): n for n in names}
        self._places = [
            (wanted[id(p)], m, leaf)
            for m in model.modules()
            if not isinstance(m, torch.jit.ScriptModule)
            for leaf, p in m._parameters.items()
            if id(p) in wanted
        ]

    @contextmanager
    @whole
    def __call__(self, params: Params) -> Iterator[None]:
        """Put these values in the place of the parameters, and the parameters back afterwards."""
        held = [(m, leaf, m._parameters[leaf]) for name, m, leaf in self._places if name in params]
        try:
            for name, m, leaf in self._places:
                if name in params:
                    m._parameters[leaf] = params[name]  # type: ignore[assignment]  # a tensor acts as a parameter here
            yield
        finally:
            for m, leaf, p in held:
                m._parameters[leaf] = p
