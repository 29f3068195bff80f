"""Every draw of a run, keyed by what it is for: (seed, round, purpose, index) → 64 bits → generator.

No draw depends on a batch, a worker or a rank, so none of them can change an answer. Mixing is splitmix64
(Steele, Lea, Flood, OOPSLA 2014); the purpose enters through a digest of its name.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MASK = (1 << 64) - 1


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _word(part: int | str) -> int:
    if isinstance(part, str):
        return int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
    return int(part) & _MASK


def seeds(seed: int, *path: int | str, indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return one 63-bit seed per index, a function of (seed, path, index) alone; shape [len(indices)]."""
    z = np.zeros(1, np.uint64)
    for part in (seed, *path):
        z = _mix(z ^ np.uint64(_word(part)))
    return _mix(z ^ np.asarray(indices).astype(np.uint64)) >> np.uint64(1)


def derive(seed: int, *path: int | str) -> int:
    """Return one 63-bit seed for (seed, path)."""
    return int(seeds(seed, *path, indices=np.zeros(1, np.int64))[0])


def generator(seed: int, *path: int | str) -> torch.Generator:
    """Return a CPU generator of its own for (seed, path)."""
    return torch.Generator().manual_seed(derive(seed, *path))


def noise(like: Tensor, per_example: NDArray[np.uint64]) -> Tensor:
    """Draw uniform numbers in [−1, 1), each example from its own seed.

    Args:
        like: [B, …]; gives shape, dtype and device.
        per_example: B seeds from `seeds`.
    Returns:
        [B, …], independent of how examples were batched.
    """
    own = torch.Generator()
    out = torch.empty(like.shape, dtype=torch.float32)  # [B, …]
    for row, s in zip(out, per_example.tolist(), strict=True):
        row.uniform_(-1.0, 1.0, generator=own.manual_seed(s))
    return out.to(device=like.device, dtype=like.dtype)


def seed_everything(seed: int) -> None:
    """Seed `random`, numpy's and torch's global CPU generators (call inside `rng_kept`)."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Return every global random state (python, numpy, torch on CPU and accelerators) as plain values and tensors."""
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), torch.from_numpy(np.array(keys)), int(place), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to the global random states that `rng_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, place, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy(), place, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    if state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"].cpu())


@contextmanager
def rng_kept() -> Iterator[None]:
    """Restore every global random state on leaving, also on failure."""
    before = rng_state()
    try:
        yield
    finally:
        set_rng_state(before)
