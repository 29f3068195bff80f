"""A device without hardware: tensors that say they live on `pretend:0` or `pretend:1` and hold their numbers on the CPU.

What would fail on a GPU fails here with the same kind of error: operations on tensors of two devices, numpy arrays of device
tensors, a generator of another device. What would be slow there is counted: launches, waits of the host for the device, and
copies. The numbers are those of the CPU, bit for bit, so an answer can be compared with `==`.

    with pretending() as device:
        model.to("pretend:0")
        ...
    device.counts["wait"]

The backend is torch's own PrivateUse1, whose tensors are made in Python. `register` must run before the first backward pass
of the process, which counts devices; outside of `pretending` the process has no accelerator, and nothing else has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
Counts = Counter[str]  # "launch", "wait", "to device" (and "blocking", where the host waits for such a copy), "to host"

# operations that start no kernel, because they change how memory is read
_VIEWS = """view _unsafe_view detach slice select t transpose permute expand unsqueeze squeeze as_strided alias split
split_with_sizes chunk unbind _reshape_alias diagonal unfold narrow lift_fresh numpy_T swapaxes movedim"""
VIEWS = frozenset(_VIEWS.split())
# operations whose result the host has to wait for, because its value or its shape is needed
_WAITS = """_local_scalar_dense nonzero equal is_nonzero item masked_select unique_dim _unique2 bincount
repeat_interleave"""
WAITS = frozenset(_WAITS.split())
INDEXED = frozenset(("index", "index_put", "_index_put_impl", "_unsafe_index"))


_active: list[object] = []  # the open `pretending` blocks; outside of them the process has no accelerator


def register() -> None:
    """Make torch know the device: once in a process, and before its first backward pass."""
    if hasattr(torch, NAME):
        return
    base: Any = backend_registration
    about = {
        "is_available": lambda self: bool(_active),
        "device_count": lambda self: 2 if _active else 0,
        "get_rng_state": lambda self, device=None: torch.empty(0, dtype=torch.uint8),
        "set_rng_state": lambda self, state, device=None: None,
        "get_amp_supported_dtype": lambda self: [torch.bfloat16, torch.float16],
    }
    module = type("PretendModule", (base._DummyBackendModule,), about)()
    hooks = {"is_available": lambda self: bool(_active), "has_primary_context": lambda self, device: bool(_active)}
    hook = type("PretendHooks", (base._DummyPrivateUse1Hook,), hooks)()
    base._setup_privateuseone_for_python_backend(NAME, backend_module=module, hook=hook)


class PretendTensor(Tensor):
    """A tensor on a pretend device; `held` is the tensor on the CPU with its numbers."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: Any, held: Tensor, device: torch.device) -> Any:
        """Wrap a tensor of the CPU."""
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=device,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """Show the numbers and the device."""
        return f"PretendTensor({self.held!r}, {self.device})"

    def tolist(self) -> Any:
        """Copy to the host first, as every device does."""
        return self.cpu().tolist()

    def new_tensor(  # type: ignore[override]
        self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Any:
        """Copy the new numbers to the device of this tensor."""
        made = torch.tensor(data, dtype=dtype or self.dtype)
        return made.to(device or self.device).requires_grad_(requires_grad)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run outside of a `pretending` block, without a count."""
        return PretendDevice().run(func, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """Runs every operation on the numbers, refuses what a device refuses, and counts.

    Attributes:
        counts: launches, waits and copies since the last `reset`.
        waits: the operations that the host waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counts = Counter()
        self.waits: Counts = Counter()

    def reset(self) -> None:
        """Begin to count again."""
        self.counts.clear()
        self.waits.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        return self.run(func, args, kwargs or {})

    def waited(self, name: str) -> None:
        """Count a wait."""
        self.counts["wait"] += 1
        self.waits[name] += 1

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation of torch on tensors of any device."""
        name = func._schema.name.split("::")[1]
        name = name if name.endswith("__") else name.rstrip("_")
        wanted = _device(kwargs.get("device"))
        if name == "_to_copy":
            return self._moved(func, args[0], wanted, kwargs)
        if name == "copy":
            return self._copied(func, args)
        tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        here = [t for t in tensors if isinstance(t, PretendTensor)]
        _refuse_generator(kwargs.get("generator"), wanted, here)
        if not here and (wanted is None or wanted.type != NAME):
            return func(*args, **kwargs)
        self._refuse_mixing(name, func, args, tensors, here)
        if name in WAITS or (name in INDEXED and any(_is_mask(i) for i in args[1])):
            self.waited(name)
        if name not in VIEWS:
            self.counts["launch"] += 1
        device = wanted if wanted is not None and wanted.type == NAME else here[0].device
        plain = {k: v for k, v in kwargs.items() if k != "pin_memory" or v}
        if "device" in plain:
            plain["device"] = torch.device("cpu")
        out = func(*tree_map(_numbers, args), **tree_map(_numbers, plain))
        known = {id(t.held): t for t in here}  # an operation in place returns the tensor that it was given

        def placed(t: Any) -> Any:
            if not isinstance(t, Tensor):
                return t
            return known[id(t)] if id(t) in known else PretendTensor(t, device)

        return tree_map(placed, out)

    def _moved(self, func: Any, given: Tensor, wanted: torch.device | None, kwargs: dict[str, Any]) -> Tensor:
        """Copy a tensor to another device or precision."""
        target = wanted or given.device
        rest = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
        held = _numbers(given)
        out = func(held, **rest)
        out = out.clone() if out is held else out
        self._count_copy(given, target)
        if target.type == NAME and not isinstance(given, PretendTensor) and not kwargs.get("non_blocking"):
            self.counts["blocking"] += 1
        return PretendTensor(out, target) if target.type == NAME else out

    def _copied(self, func: Any, args: tuple[Any, ...]) -> Tensor:
        """Copy the numbers of one tensor into another, from any device to any device."""
        self._count_copy(args[1], args[0].device)
        func(_numbers(args[0]), _numbers(args[1]), *args[2:])
        return args[0]

    def _count_copy(self, given: Tensor, target: torch.device) -> None:
        if isinstance(given, PretendTensor) and target.type == "cpu":
            self.counts["to host"] += 1
            self.waited("to host")
        elif target.type == NAME:
            self.counts["launch" if isinstance(given, PretendTensor) else "to device"] += 1

    def _refuse_mixing(
        self, name: str, func: Any, args: tuple[Any, ...], tensors: Sequence[Tensor], here: Sequence[Tensor]
    ) -> None:
        """Refuse tensors of several devices; numbers, and the positions of an indexed device tensor, may be on the CPU."""
        elsewhere = [t for t in tensors if not isinstance(t, PretendTensor) and t.dim() > 0]
        if name in INDEXED and elsewhere and isinstance(args[0], PretendTensor):
            values = args[2] if name != "index" and len(args) > 2 else None
            if isinstance(values, PretendTensor) or values is None or values.dim() == 0:
                self.counts["to device"] += 1
                elsewhere = []
        if elsewhere or len({t.device for t in here}) > 1:
            shapes = [(str(t.device), tuple(t.shape)) for t in (*here, *elsewhere)]
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices in {func}: {shapes}"
            )


def _device(given: Any) -> torch.device | None:
    device = None if given is None else torch.device(given)
    return torch.device(NAME, 0) if device is not None and device.type == NAME and device.index is None else device


def _numbers(value: Any) -> Any:
    return value.held if isinstance(value, PretendTensor) else value


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype == torch.bool


def _refuse_generator(generator: Any, wanted: torch.device | None, here: Sequence[Tensor]) -> None:
    """Refuse a generator of the CPU for numbers on the device."""
    target = here[0].device if here else wanted
    if generator is not None and target is not None and generator.device.type != target.type:
        raise RuntimeError(f"Expected a '{target.type}' device type for generator but found '{generator.device.type}'")


class _Autocast:
    """`torch.autocast`, which knows no pretend device: there it does nothing."""

    real = torch.autocast

    def __init__(self, device_type: str, *args: Any, **settings: Any) -> None:
        self.inner = None if device_type == NAME else self.real(device_type, *args, **settings)

    def __enter__(self) -> Any:
        return self.inner and self.inner.__enter__()

    def __exit__(self, *why: Any) -> Any:
        return self.inner and self.inner.__exit__(*why)


def _made_on_the_host(real: Any) -> Any:
    """Let a function that makes a tensor of Python numbers make it on the CPU, and move it."""

    def make(data: Any, *args: Any, device: Any = None, requires_grad: bool = False, **settings: Any) -> Tensor:
        target = _device(device)
        if target is None or target.type != NAME:
            more = {"requires_grad": True} if requires_grad else {}
            return real(data, *args, device=device, **more, **settings)
        made = data if isinstance(data, Tensor) else real(data, *args, **settings)
        return made.to(target).requires_grad_(requires_grad)

    return make


@contextmanager
def pretending() -> Iterator[PretendDevice]:
    """Make the devices `pretend:0` and `pretend:1` usable inside the block, and count what happens on them."""
    device = PretendDevice()
    changed = {
        "autocast": _Autocast,
        "tensor": _made_on_the_host(torch.tensor),
        "as_tensor": _made_on_the_host(torch.as_tensor),
    }
    with patch.multiple(cast(Any, torch), **changed), device:
        _active.append(device)
        try:
            yield device
        finally:
            _active.pop()


def without_device(selection: Any) -> Any:
    """Return a selection whose certificate says nothing about the device that computed it, to compare it with the CPU's."""
    held = selection.certificate
    if held is None:
        return selection
    said = tuple(words for words in held.assumptions if NAME not in words)
    return replace(selection, certificate=replace(held, assumptions=said))


def same_to_rounding(got: Any, want: Any, rtol: float = 1e-10) -> None:
    """Assert that two selections are the same answer: equal picks and groups, and numbers that differ by rounding alone.

    The numbers are not equal bit for bit, because a dot product sums in another order where its memory lies otherwise.
    """
    for what in ("indices", "source_indices", "groups", "nested"):
        assert np.array_equal(getattr(got, what), getattr(want, what)), what
    for what in ("gains", "weights", "scores"):
        left, right = getattr(got, what), getattr(want, what)
        assert (left is None) == (right is None), what
        assert left is None or np.allclose(left, right, rtol=rtol, atol=1e-15, equal_nan=True), what
    for what in ("certificate", "diagnostics"):
        left, right = getattr(got, what), getattr(want, what)
        assert (left is None) == (right is None), what
        if left is not None:
            _near(asdict(left), asdict(right), rtol, what)


def _near(got: Any, want: Any, rtol: float, name: str) -> None:
    if isinstance(want, dict):
        assert got.keys() == want.keys(), name
        for key, value in want.items():
            _near(got[key], value, rtol, f"{name}.{key}")
    elif isinstance(want, float):
        assert np.allclose(got, want, rtol=rtol, atol=1e-12, equal_nan=True), (name, got, want)
    else:
        assert got == want, name
