"""The arithmetic of a selection: float32 is float32, and one seed gives one answer; the caller's settings come back afterwards.

TF32 and bfloat16 keep 10 and 7 of float32's 23 binary digits in products. On a GPU, cuDNN chooses convolutions by their
speed at that moment, and some kernels add numbers in the order in which threads arrive.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from coreselect.support.interruptions import whole

_LOOSE = re.compile(r"(\S+) does not have a deterministic implementation")
_DRIVER = Path("/proc/driver/nvidia/version")


@contextmanager
@whole
def exact_arithmetic(device: torch.device, note: Callable[[str], None] = lambda operation: None) -> Iterator[None]:
    """Compute float32 products in float32, and on a GPU with deterministic kernels where there are any.

    Args:
        device: of the model.
        note: called with the name of an operation that has no deterministic kernel on this device.
    """
    with _float32(), _deterministic(device, note):
        yield


def machine(device: torch.device) -> dict[str, str]:
    """Describe what numbers computed on a device depend on besides packages; nothing for the CPU."""
    if device.type == "cpu":
        return {}
    out = {"device": str(device), "float32": "ieee"}
    if device.type == "cuda":
        out |= {"device": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
        out |= {"cudnn": str(torch.backends.cudnn.version())}
        found = re.search(r"Module\s+(?:for \S+\s+)?(\d[\d.]+)", _DRIVER.read_text()) if _DRIVER.is_file() else None
        out |= {"driver": found[1]} if found else {}
    return out


@contextmanager
@whole
def _float32() -> Iterator[None]:
    """Switch TF32 and bfloat16 products of float32 off."""
    backends: Any = torch.backends
    parts: list[Any] = [
        part
        for part in (
            backends.cuda.matmul, getattr(backends.cudnn, "conv", None), getattr(backends.cudnn, "rnn", None),
            getattr(backends.mkldnn, "matmul", None), getattr(backends.mkldnn, "conv", None),
            getattr(backends.mkldnn, "rnn", None),
        )
        if hasattr(part, "fp32_precision")  # torch 2.9 and later
    ]  # fmt: skip
    kept = [part.fp32_precision for part in parts]
    try:
        older = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:  # the caller has set the newer flags, and torch reads the older ones no more
        older = None
    try:
        if older is None:
            for part in parts:
                part.fp32_precision = "ieee"
        else:
            torch.set_float32_matmul_precision("highest")
            backends.cudnn.allow_tf32 = False
        yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older[0])
            backends.cudnn.allow_tf32 = older[1]
        for part, was in zip(parts, kept, strict=True):
            part.fp32_precision = was


@contextmanager
@whole
def _deterministic(device: torch.device, note: Callable[[str], None]) -> Iterator[None]:
    """Ask for deterministic kernels, and note which operations have none."""
    if device.type == "cpu":
        yield
        return
    backends: Any = torch.backends
    cudnn, filling = backends.cudnn, cast(Any, torch.utils.deterministic)
    kept = cudnn.deterministic, cudnn.benchmark, filling.fill_uninitialized_memory  # type: ignore[attr-defined]
    asked, only_warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    shown: Any = warnings.showwarning

    def heard(message: Any, *where: Any, **more: Any) -> None:
        found = _LOOSE.search(str(message))
        if found:
            note(found[1])
        elif "CUBLAS_WORKSPACE_CONFIG" not in str(message):  # about several streams; a selection uses one
            shown(message, *where, **more)

    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        filling.fill_uninitialized_memory = False
        if not asked:  # who has asked for errors keeps them
            torch.use_deterministic_algorithms(True, warn_only=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=".*deterministic.*")
            warnings.showwarning = heard
            yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=only_warn)
        cudnn.deterministic, cudnn.benchmark, filling.fill_uninitialized_memory = kept  # type: ignore[attr-defined]
