"""What a run in a folder checks: which of its settings differ from those of the folder, and whether its parts are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

COMPARED_FIRST = ("system", "mode", "selector")  # these tell most about a run: their difference is reported first


def differences(kept: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, kept value, new value) of every setting that differs; nested settings have dotted names."""
    for name in sorted(kept.keys() | now.keys(), key=lambda n: (n not in COMPARED_FIRST, n)):
        one, two = kept.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from differences(one, two, f"{within}{name}.")
        elif one != two:
            yield within + name, one, two


def all_finite(part: object) -> bool:
    """Say whether every tensor of a module is finite; other parts are not checked."""
    return not isinstance(part, nn.Module) or all(bool(t.isfinite().all()) for t in part.state_dict().values())
