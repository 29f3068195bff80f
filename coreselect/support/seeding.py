"""Random draws that depend only on their purpose: (seed, round, purpose, index) → 64 bits → generator.

No draw depends on a batch, a worker or a rank, so these cannot change a selection. The numbers are mixed by splitmix64
(Steele, Lea, Flood, OOPSLA 2014). A purpose, which is a name, is mixed in as a digest.
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

from coreselect.support.interruptions import whole

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
    """Return one 63-bit seed for each index, uint64 [len(indices)]; it depends only on (seed, path, index)."""
    z = np.zeros(1, np.uint64)
    for part in (seed, *path):
        z = _mix(z ^ np.uint64(_word(part)))
    return _mix(z ^ np.asarray(indices).astype(np.uint64)) >> np.uint64(1)


def derive(seed: int, *path: int | str) -> int:
    """Return one 63-bit seed for (seed, path)."""
    return int(seeds(seed, *path, indices=np.zeros(1, np.int64))[0])


def generator(seed: int, *path: int | str) -> torch.Generator:
    """Return a new CPU generator with the seed of (seed, path)."""
    return torch.Generator().manual_seed(derive(seed, *path))


def noise(like: Tensor, per_example: NDArray[np.uint64]) -> Tensor:
    """Draw uniform numbers in [−1, 1), for each example with its own seed.

    Args:
        like: [B, …]; the result has its shape, dtype and device.
        per_example: B seeds from `seeds`.
    Returns:
        [B, …]; the numbers of an example do not depend on its batch.
    """
    own = torch.Generator()
    on_gpu = like.device.type == "cuda"  # a copy from pinned memory does not wait for the work before it
    out = torch.empty(like.shape, dtype=torch.float32, pin_memory=on_gpu)  # [B, …]
    for row, s in zip(out, per_example.tolist(), strict=True):
        row.uniform_(-1.0, 1.0, generator=own.manual_seed(s))
    return out.to(device=like.device, dtype=like.dtype, non_blocking=on_gpu)


def seed_everything(seed: int) -> None:
    """Seed the global CPU generators of `random`, numpy and torch; call it inside `rng_kept`."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Return all global random states (Python, numpy, torch on CPU and accelerators) as plain values and tensors."""
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
    """Restore the global random states that `rng_state` returned; states of devices that are not here are left out."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, place, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy(), place, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    here = torch.cuda.device_count() if state["cuda"] and torch.cuda.is_available() else 0
    for number, own in enumerate(state["cuda"][:here]):
        torch.cuda.set_rng_state(own.cpu(), number)
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"].cpu())


@contextmanager
@whole
def rng_kept() -> Iterator[None]:
    """Restore all global random states after the block, also if it fails."""
    before = rng_state()
    try:
        yield
    finally:
        set_rng_state(before)
