"""What a sweep is known by, as values that JSON can hold, and how two of them differ."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from coreselect.gradients.parts import Batches, Key
from coreselect.io import strict_json


def described(key: Key, batches: Batches) -> dict[str, Any]:
    """Describe a sweep by values that JSON can hold; the positions in its batches by a digest."""
    digest = blake2b(digest_size=8)
    for batch in batches:
        digest.update(len(batch).to_bytes(8, "little"))
        for group in batch:
            digest.update(len(group).to_bytes(8, "little") + np.ascontiguousarray(group, np.int64).tobytes())
    return {
        "kind": key.kind,
        "settings": plain(key.settings),
        "examples": sum(len(group) for batch in batches for group in batch),
        "groups": sum(len(batch) for batch in batches),
        "batches": len(batches),
        "positions": digest.hexdigest(),
    }


def differences(held: Any, wanted: Any, where: str = "") -> list[str]:
    """Say where two headers differ: `seed (there 0, here 1)`."""
    if isinstance(held, Mapping) and isinstance(wanted, Mapping):
        names = dict.fromkeys((*wanted, *held))
        return [d for n in names for d in differences(held.get(n), wanted.get(n), f"{where} {n}".strip())]
    if held == wanted:
        return []
    return [f"{where} (there {_short(held)}, here {_short(wanted)})"]


def _short(value: Any) -> str:
    said = "nothing" if value is None else str(value)
    return said if len(said) <= 40 else f"{said[:37]}…"


def plain(value: Any) -> Any:
    """Return values as JSON gives them back, without addresses in memory, which another process has elsewhere."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", strict_json.canonical(value))
    return strict_json.loads(text)
