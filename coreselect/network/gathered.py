"""A bare copy of a model whose parameters are spread over ranks by FSDP: the model as it is, in one piece, on every rank.

Attacks, hooks and exchanged parameters need a plain module. `torch.distributed.checkpoint.state_dict.get_model_state_dict` gives
the full parameters and buffers, once for a selection; all ranks have to ask together. The copy has the same modules without FSDP's
wrappers, classes and hooks. Parameters are those that the optimizer moves, in their own precision.
"""

import copy
import sys
from typing import Any

from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.network.frozen import unwrap

OURS_NOT = (
    "__composable_api_state_key",
    "_is_fsdp_managed_module",
    "_fsdp_use_orig_params",
)  # what FSDP adds to a module
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
         "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")  # fmt: skip


def is_spread(model: nn.Module) -> bool:
    """Say whether a module inside the model is of FSDP1 (a wrapper) or FSDP2 (`fully_shard`)."""
    if "torch.distributed.fsdp" not in sys.modules:  # nobody can have used it
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel

    return any(isinstance(m, (FullyShardedDataParallel, *_fsdp2())) for m in model.modules())


def _fsdp2() -> tuple[type, ...]:
    """Return the class that `fully_shard` puts before a module's own; nothing where PyTorch (before 2.6) exports none."""
    import torch.distributed.fsdp as fsdp

    found = getattr(fsdp, "FSDPModule", None)
    return () if found is None else (found,)


def refuse_flat(model: nn.Module) -> None:
    """Refuse FSDP1 without its original parameters: they cannot be told apart any more.

    Raises:
        RequirementError: `use_orig_params` is off.
    """
    if not is_spread(model):
        return
    from torch.distributed.fsdp import FullyShardedDataParallel

    for m in model.modules():
        if isinstance(m, FullyShardedDataParallel) and not m._use_orig_params:
            raise RequirementError(
                "the model is wrapped by FSDP without its own parameters: wrap it with use_orig_params=True, or use fully_shard."
            )


def bare_copy(model: nn.Module) -> nn.Module:
    """Return a plain copy of a model that FSDP has spread, with full parameters and buffers; all ranks must call it.

    The copy shares with the model what is no parameter, buffer or module: settings, and hooks that are not FSDP's.

    Args:
        model: with all that is around it.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    return _Copy(full).of(unwrap(model), "")


class _Copy:
    """The copy of one model. A module, parameter or buffer that occurs twice is one in the copy too."""

    def __init__(self, full: dict[str, Any]) -> None:
        self._full = full
        self._made: dict[int, Any] = {}

    def of(self, module: nn.Module, name: str) -> nn.Module:
        """Copy a module whose place in the model has this name, with a dot at the end."""
        from torch.distributed.fsdp import FullyShardedDataParallel

        if isinstance(module, FullyShardedDataParallel):
            return self.of(module.module, name)
        if id(module) in self._made:
            return self._made[id(module)]
        cls: Any = type(module)
        if isinstance(module, _fsdp2()):  # `fully_shard` has put itself before the class: (FSDPModule, the class)
            cls = cls.__mro__[2]
        made = self._made[id(module)] = cls.__new__(cls)
        state = {k: v for k, v in vars(module).items() if not k.startswith(OURS_NOT)}
        state |= {hooks: _not_of_fsdp(state[hooks]) for hooks in HOOKS if hooks in state}
        state["_parameters"] = {n: self._parameter(p, name + n) for n, p in module._parameters.items()}
        state["_buffers"] = {n: self._buffer(b, name + n) for n, b in module._buffers.items()}
        state["_modules"] = {n: None if m is None else self.of(m, f"{name}{n}.") for n, m in module._modules.items()}
        for own in state["_parameters"]:
            state.pop(own, None)  # FSDP1 may leave a view of it in its place
        vars(made).update(state)
        return made

    def _parameter(self, parameter: nn.Parameter | None, name: str) -> nn.Parameter | None:
        if parameter is None:
            return None
        if id(parameter) not in self._made:
            value = self._value(name)
            assert value is not None  # a state dict holds all parameters
            self._made[id(parameter)] = nn.Parameter(value.detach().clone(), requires_grad=parameter.requires_grad)
        return self._made[id(parameter)]

    def _buffer(self, buffer: Tensor | None, name: str) -> Tensor | None:
        if buffer is None:
            return None
        if id(buffer) not in self._made:
            value = self._value(
                name
            )  # buffers that are not persistent are in no state dict, and every rank has them whole
            self._made[id(buffer)] = (buffer if value is None else value).detach().clone()
        return self._made[id(buffer)]

    def _value(self, name: str) -> Tensor | None:
        for inner in ("_orig_mod.", "_checkpoint_wrapped_module."):  # left out of the names, as FSDP's wrapper is
            name = name.replace(inner, "")
        return self._full.get(name)


def _not_of_fsdp(hooks: Any) -> Any:
    """Return a copy of a module's hooks without those that FSDP has put there."""
    kept = copy.copy(hooks)
    for key, hook in hooks.items():
        if type(getattr(hook, "__self__", None)).__module__.startswith("torch.distributed.fsdp"):
            del kept[key]
    return kept
