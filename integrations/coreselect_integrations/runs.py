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
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from coreselect.errors import DataError, RequirementError
from coreselect.io.whole import whole_file
from coreselect.seeding import rng_state, set_rng_state

CHECKPOINT, LOG = "last.pt", "log.jsonl"


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
    def open(cls, folder: str | Path, parts: Mapping[str, Stateful], settings: Mapping[str, Any]) -> Run:
        """Begin a run in a folder, or take up the one that is there: its parts and the global random states are restored.

        Args:
            folder: made if it is missing.
            parts: name → object with `state_dict` and `load_state_dict`, freshly built as at the start of the run.
            settings: numbers, texts, lists and None, as JSON holds them.
        Raises:
            RequirementError: the folder holds a run with other settings.
            DataError: its checkpoint cannot be read.
        """
        run = cls(Path(folder), parts, json.loads(json.dumps(dict(settings))))
        run.folder.mkdir(parents=True, exist_ok=True)
        path = run.folder / CHECKPOINT
        if not path.exists():
            return run
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            kept, states, records, rng = (state[k] for k in ("settings", "parts", "records", "rng"))
        except Exception as why:  # torch raises many kinds for a file that is not a checkpoint
            said = f"{path} cannot be read as a checkpoint ({type(why).__name__}): remove it to begin anew."
            raise DataError(said) from why
        for name in sorted(kept.keys() | run.settings.keys()):
            if kept.get(name) != run.settings.get(name):
                said = (
                    f"{run.folder} holds a run with {name} {kept.get(name)!r}, this one has {run.settings.get(name)!r}: "
                    "resume with the settings of the first, or give another folder."
                )
                raise RequirementError(said)
        for name, part in parts.items():
            part.load_state_dict(states[name])
        run.records = list(records)
        set_rng_state(rng)
        with whole_file(run.folder / LOG) as file:
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
        """
        self.records.append({"epoch": self.done, **record})
        state = {
            "settings": self.settings,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "records": self.records,
            "rng": rng_state(),
        }
        with whole_file(self.folder / CHECKPOINT) as file:
            torch.save(state, file)
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(self.records[-1]) + "\n")


def digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that stand for all parameters and buffers of a module, by name and bits."""
    out = blake2b(digest_size=8)
    for name, value in module.state_dict().items():
        out.update(name.encode())
        out.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return out.hexdigest()
