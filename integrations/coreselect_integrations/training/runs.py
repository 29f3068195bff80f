"""A training run in a folder, which goes on from its last epoch wherever it was killed.

    run = Run.open(folder, {"model": model, "optimizer": optimizer, "schedule": schedule, "sampler": sampler}, settings)
    for epoch in range(run.done, epochs):
        ...                                   # train one epoch, its draws a function of (seed, epoch)
        run.keep({"loss": log.loss, "seconds": log.seconds})

The folder holds `last.pt`, all that the next epoch needs, and `log.jsonl`, one line an epoch. Both are written so that a
crash leaves the old or the new; the log follows the checkpoint, never the other way round.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import nn

from coreselect.errors import DataError, NonFiniteError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.support.seeding import rng_state, set_rng_state

CHECKPOINT, LOG = "last.pt", "log.jsonl"
KINDS = ("system", "mode", "selector")  # the settings that are compared first


class Stateful(Protocol):
    """Anything that can say where it stands: a module, an optimiser, a schedule, a `CoresetSampler`."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass
class Run:
    """What has been done in a folder: `records`, one an epoch, JSON-able; `parts`, whose states are kept.

    `settings` say what the run is; a folder is not resumed under others.
    """

    folder: Path
    parts: Mapping[str, Stateful]
    settings: Mapping[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        parts: Mapping[str, Stateful],
        settings: Mapping[str, Any],
        *,
        restore_rng: bool = True,
        start: str | Path | None = None,
        apart: Collection[str] = (),
        added: Collection[str] = (),
        earlier: Mapping[str, Any] = MappingProxyType({}),
    ) -> Run:
        """Begin a run in a folder, or take up the one that is there: its parts are restored.

        Args:
            folder: made if it is missing.
            parts: name → object with `state_dict` and `load_state_dict`, freshly built as at the start of the run.
            settings: numbers, texts, lists and None, as JSON holds them.
            restore_rng: whether the global random states go back to where the run stood, too.
            start: folder of another run; where this one has not begun, it begins where that one stands, whatever the
                settings of that one, and its records are the first of this one's.
            apart: parts that are not taken from there.
            added: parts that folders of earlier versions may lack; they stay as built where there is no state of them.
            earlier: settings that folders of earlier versions may lack, and what held then.
        Raises:
            RequirementError: the folder holds a run with other settings.
            DataError: a checkpoint cannot be read or is missing, or there can be no such folder.
        """
        run = cls(Path(folder), parts, json.loads(json.dumps(dict(settings))))
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
        except OSError as why:
            said = f"{run.folder} cannot be the folder of a run ({why.strerror}): give another."
            raise DataError(said) from why
        path = run.folder / CHECKPOINT
        if not path.exists() and start is None:
            return run
        fresh = not path.exists()
        state = _read(Path(start or "") / CHECKPOINT if fresh else path)
        for name, first, second in () if fresh else _differences({**earlier, **state["settings"]}, run.settings):
            said = (
                f"{run.folder} holds a run with {name} {first!r}, this one has {second!r}: "
                "resume with the settings of the first, or give another folder."
            )
            raise RequirementError(said)
        for name, part in parts.items():
            kept = name in state["parts"] or name not in added
            if kept and not (fresh and name in apart):
                part.load_state_dict(state["parts"][name])
        run.records = list(state["records"])
        if restore_rng:
            set_rng_state(state["rng"])
        with atomic_file(run.folder / LOG) as file:
            file.write("".join(json.dumps(r) + "\n" for r in run.records).encode())
        return run

    @property
    def done(self) -> int:
        """How many epochs are done: the next one's number."""
        return len(self.records)

    def keep(self, record: Mapping[str, Any]) -> None:
        """End an epoch: keep the states of all parts, and add its line to the log.

        Args:
            record: what the epoch did, JSON-able; its number is added as `epoch`.
        Raises:
            NonFiniteError: a number of the record, or a tensor of a module among the parts, is NaN or infinite; the
                folder still holds the epoch before.
        """
        wrong = [f"its {name} is {v}" for name, v in record.items() if isinstance(v, float) and not math.isfinite(v)]
        wrong += [f"its {name} is not finite" for name, part in self.parts.items() if not _finite(part)]
        if wrong:
            before = f"what {self.folder} holds is from before" if self.done else "nothing of it is kept"
            said = (
                f"training diverged in epoch {self.done + 1}, {wrong[0]}, and {before}: begin anew, in another folder, with "
                "a lower rate."
            )
            raise NonFiniteError(said)
        self.records.append({"epoch": self.done, **record})
        state = {
            "settings": self.settings,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "records": self.records,
            "rng": rng_state(),
        }
        with atomic_file(self.folder / CHECKPOINT) as file:
            torch.save(state, file)
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(self.records[-1]) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Load a checkpoint; no code in it is run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {k: state[k] for k in ("settings", "parts", "records", "rng")}
    except Exception as why:  # torch raises many kinds for a file that is not a checkpoint
        said = f"{path} cannot be read as a checkpoint ({type(why).__name__}): remove it to begin anew."
        raise DataError(said) from why


def _differences(kept: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield name and both values of every setting that differs, what kind of run it is first, inner ones by dotted names."""
    for name in sorted(kept.keys() | now.keys(), key=lambda n: (n not in KINDS, n)):
        one, two = kept.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from _differences(one, two, f"{within}{name}.")
        elif one != two:
            yield within + name, one, two


def _finite(part: Stateful) -> bool:
    """Say whether every tensor of a module is finite; of other parts nothing is asked."""
    return not isinstance(part, nn.Module) or all(bool(t.isfinite().all()) for t in part.state_dict().values())
