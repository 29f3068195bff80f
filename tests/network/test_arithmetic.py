"""Inside the guard float32 is float32 and kernels are deterministic; outside, the caller's settings are as they were."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from coreselect.network.arithmetic import _DRIVER, exact_arithmetic, machine

BACKENDS: Any = torch.backends
CUDA = torch.device("cuda")


def settings() -> dict[str, Any]:
    """Every setting that the guard touches."""
    parts = {
        "matmul": BACKENDS.cuda.matmul, "conv": BACKENDS.cudnn.conv, "rnn": BACKENDS.cudnn.rnn,
        "mkldnn": BACKENDS.mkldnn.matmul, "mkldnn conv": BACKENDS.mkldnn.conv, "mkldnn rnn": BACKENDS.mkldnn.rnn,
    }  # fmt: skip
    older: Any = None
    try:
        older = torch.get_float32_matmul_precision(), BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32
    except RuntimeError as why:
        older = type(why)
    return {
        **{name: part.fp32_precision for name, part in parts.items()},
        "older": older,
        "cudnn": (BACKENDS.cudnn.deterministic, BACKENDS.cudnn.benchmark),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "only warn": torch.is_deterministic_algorithms_warn_only_enabled(),
        "filling": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "showwarning": warnings.showwarning,
        "filters": list(warnings.filters),
    }


def newer_flags() -> None:
    BACKENDS.fp32_precision = "tf32"
    BACKENDS.mkldnn.matmul.fp32_precision = "bf16"


CALLERS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "no TF32": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "newer flags": newer_flags,
    "benchmark": lambda: setattr(BACKENDS.cudnn, "benchmark", True),
    "errors": lambda: torch.use_deterministic_algorithms(True),
}


@pytest.fixture
def restored() -> Any:
    """Undo what a test has set."""
    kept = [(p, p.fp32_precision) for p in (BACKENDS, BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn)]
    kept += [(p, p.fp32_precision) for p in (BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn)]
    older = torch.get_float32_matmul_precision(), BACKENDS.cudnn.allow_tf32
    yield
    for part, was in kept:
        part.fp32_precision = was
    torch.set_float32_matmul_precision(older[0])
    BACKENDS.cudnn.allow_tf32 = older[1]
    for part, was in kept:
        part.fp32_precision = was
    torch.use_deterministic_algorithms(False)
    BACKENDS.cudnn.benchmark = False


@pytest.mark.skipif(not hasattr(BACKENDS.cuda.matmul, "fp32_precision"), reason="this torch has no such flags to read")
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_arithmetic_comes_back(caller: str, fails: bool, restored: None) -> None:
    """Whatever the caller has set, by older or newer flags: inside it is exact, and afterwards it is as before."""
    CALLERS[caller]()
    before = settings()
    try:
        with exact_arithmetic(CUDA):
            now = settings()
            assert {now["matmul"], now["mkldnn"]} == {"ieee"}
            assert now["conv"] in ("ieee", "none")
            assert now["conv"] == "ieee" or not BACKENDS.cudnn.allow_tf32
            assert now["cudnn"] == (True, False)
            assert now["deterministic"]
            assert now["only warn"] == (caller != "errors")
            if fails:
                raise KeyError("half-way")
    except KeyError:
        pass
    assert settings() == before


def test_on_the_cpu_only_the_precision_changes(restored: None) -> None:
    """bfloat16 products, which some processors have, are off; deterministic algorithms are not asked for."""
    torch.set_float32_matmul_precision("medium")
    with exact_arithmetic(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "medium"


def test_operations_without_a_deterministic_kernel_are_noted() -> None:
    """torch's warning becomes a note, that about CuBLAS nothing, and every other warning is shown."""
    noted: list[str] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with exact_arithmetic(CUDA, noted.append):
            for said in (
                "max_pool2d_backward_cuda does not have a deterministic implementation, but you set …",
                "Deterministic behavior was enabled …, set CUBLAS_WORKSPACE_CONFIG=:4096:8",
                "something else",
            ):
                warnings.warn(said, stacklevel=1)
    assert noted == ["max_pool2d_backward_cuda"]
    assert [str(w.message) for w in shown] == ["something else"]


def test_a_device_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A GPU has a name, versions and a driver; the CPU needs no description."""
    assert machine(torch.device("cpu")) == {}
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(f"{machine.__module__}._DRIVER", driver)
    found = machine(CUDA)
    assert found["device"] == "GPU"
    assert found["driver"] == "550.54.15"
    assert found["float32"] == "ieee"
    assert re.match("/proc/", str(_DRIVER))
