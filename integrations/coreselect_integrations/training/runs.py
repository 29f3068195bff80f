"""A training run in a folder: after a kill, it continues from its last complete epoch.

    run = Run.open(folder, {"model": model, "optimizer": optimizer, "schedule": schedule, "sampler": sampler}, settings)
    for epoch in range(run.done, epochs):
        ...                                   # train one epoch; its random draws depend on (seed, epoch) only
        run.keep({"loss": log.loss, "seconds": log.seconds})
    run.finish()

The folder holds `last.pt`, with everything the next epoch needs, and `log.jsonl`, with one line for each epoch. A crash
during writing leaves the old file or the new one, never a part. The checkpoint is written first, then the log. A large one is
written beside the next epoch; `run.finish()` waits for the last.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from coreselect.errors import DataError, NonFiniteError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.io.sole_use import SoleUse
from coreselect.io.weights_file import load_verified
from coreselect.support.seeding import rng_state, set_rng_state
from coreselect.support.type_checks import whole
from coreselect_integrations.training import beside
from coreselect_integrations.training.beside import size_of, wait_for
from coreselect_integrations.training.run_checks import BEGUN, all_finite, check_part, checked, differences, fitting
from coreselect_integrations.training.states import on_cpu

CHECKPOINT, GOOD, LOG = "last.pt", "good.pt", "log.jsonl"


class Stateful(Protocol):
    """An object whose state can be saved and restored: a module, an optimiser, a schedule, a `CoresetSampler`."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass
class Run:
    """A run in a folder: `records` has one JSON object for each epoch, and the states of `parts` are saved.

    `settings` describe the run. A folder is only continued with the same settings. A run that does not write reads the folder
    and leaves it as it is: that of a rank beside the one that writes. `use` keeps other processes out while the run lives.
    """

    folder: Path
    parts: Mapping[str, Stateful]
    settings: Mapping[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)
    writes: bool = True
    use: SoleUse | None = None
    keep_every: int = 1
    saved: int = 0  # epochs in the checkpoint
    begun: int = 0  # epochs that were done when this run began from another

    @classmethod
    def open(
        cls,
        folder: str | Path,
        parts: Mapping[str, Stateful],
        settings: Mapping[str, Any],
        *,
        restore_rng: bool = True,
        start: str | Path | None = None,
        not_from_start: Collection[str] = (),
        optional: Collection[str] = (),
        old_defaults: Mapping[str, Any] = MappingProxyType({}),
        writes: bool = True,
        keep_every: int = 1,
    ) -> Run:
        """Begin a run in a folder, or continue the run that is there and restore its parts.

        Args:
            folder: made if it is missing.
            parts: name → object with `state_dict` and `load_state_dict`, as newly built for the start of the run.
            settings: numbers, strings, lists and None, as JSON holds them.
            restore_rng: restore the global random states of the run too.
            start: folder of another run. If this run has not begun, it begins with the states and records of that run,
                whatever the settings of that run are.
            not_from_start: parts that are not taken from `start`.
            optional: parts that folders of older versions may lack; without a saved state they stay as built.
            old_defaults: settings that folders of older versions may lack, with the values that those versions used.
            writes: whether this process writes the folder.
            keep_every: epochs between two checkpoints; `finish` writes the last one. After a kill, the epochs since the last
                checkpoint are trained again.
        Raises:
            RequirementError: the folder holds a run with other settings.
            DataError: a checkpoint is missing or cannot be read, the folder cannot be made, or another process uses it.
        """
        keep_every = whole("keep_every", keep_every, RequirementError, least=1)
        run = cls(Path(folder), parts, json.loads(json.dumps(dict(settings))), writes=writes, keep_every=keep_every)
        wait_for(run.folder)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
        except OSError as why:
            said = f"{run.folder} cannot be used as the folder of a run ({why.strerror}): give another folder."
            raise DataError(said) from why
        if writes:
            run.use = SoleUse(run.folder)
        path = run.folder / CHECKPOINT
        if not path.exists() and start is None:
            return run
        fresh = not path.exists()
        state = _read(Path(start or "") / CHECKPOINT if fresh else path)
        for name, first, second in () if fresh else differences({**old_defaults, **state["settings"]}, run.settings):
            said = (
                f"{run.folder} holds a run with {name} {first!r}, this one has {second!r}: "
                "use the settings of the first run, or give another folder."
            )
            raise RequirementError(said)
        for name, part in parts.items():
            saved = name in state["parts"] or name not in optional
            if saved and not (fresh and name in not_from_start):
                with fitting(path, name):
                    part.load_state_dict(state["parts"][name])
                    check_part(part, None if fresh else len(state["records"]), state[BEGUN])
        if restore_rng:
            before = rng_state()
            try:
                with fitting(path, "the random numbers"):
                    set_rng_state(state["rng"])
            except DataError:
                set_rng_state(before)
                raise
        run.records = list(state["records"])
        run.begun = run.done if fresh else state[BEGUN]
        run.saved = 0 if fresh else run.done
        if writes:
            run._write_log()
        return run

    def __post_init__(self) -> None:
        self.beside = beside.Beside(self.folder)

    @property
    def done(self) -> int:
        """The number of epochs that are done; also the number of the next epoch, as they count from 0."""
        return len(self.records)

    def keep(self, record: Mapping[str, Any]) -> None:
        """End an epoch: add its record to the log, and save the states of all parts, every `keep_every` epochs.

        A large state is copied, and written beside what follows.

        Args:
            record: JSON values about the epoch; its number is added as `epoch`.
        Raises:
            NonFiniteError: a number of the record, or a tensor of a module among the parts, is NaN or infinite; then the
                folder still holds the epoch before.
            OSError: this checkpoint, or the one before, cannot be written.
        """
        wrong = [f"its {name} is {v}" for name, v in record.items() if isinstance(v, float) and not math.isfinite(v)]
        wrong += [f"its {name} is not finite" for name, part in self.parts.items() if not all_finite(part)]
        if wrong:
            kept = f"{self.folder} still holds the epoch before" if self.done else "nothing is saved"
            said = (
                f"training diverged in epoch {self.done + 1}: {wrong[0]}, and {kept}. Start again in another folder with "
                "a lower learning rate."
            )
            raise NonFiniteError(said)
        self.records.append({"epoch": self.done, **record})
        if not self.writes:
            return
        self.beside.wait()
        if self.done % self.keep_every:
            self._log(self.records[-1])
        else:
            self._save(self.records[-1])

    def finish(self) -> None:
        """End the run: save the epochs since the last checkpoint, and wait until everything is written.

        Raises:
            OSError: it cannot be written.
        """
        if self.writes and self.saved < self.done:
            self._save()
        self.beside.wait()

    def mark(self) -> None:
        """Keep the state of now, to which `back` returns; it is saved first."""
        if not self.writes:
            return
        if self.saved < self.done or not (self.folder / CHECKPOINT).exists():
            self._save()
        self.beside.wait()
        with atomic_file(self.folder / GOOD) as file, open(self.folder / CHECKPOINT, "rb") as kept:
            shutil.copyfileobj(kept, file)

    def back(self, change: Callable[[], None]) -> None:
        """Return the parts, the records and the random states to what `mark` kept, and save that.

        Args:
            change: called before that is saved.
        """
        self.beside.wait()
        state = _read(self.folder / GOOD)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.records = list(state["records"])
        set_rng_state(state["rng"])
        change()
        self._save()
        self.beside.wait()
        self._write_log()

    def _save(self, *new: Mapping[str, Any]) -> None:
        """Save the states, and then add records to the log."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        large = size_of(parts) >= beside.LARGE
        known: dict[Any, Tensor] | None = {} if large else None
        state = {
            "settings": self.settings,
            "parts": {name: on_cpu(part, known) for name, part in parts.items()},
            "records": list(self.records),
            "rng": rng_state(),
            BEGUN: self.begun,
        }
        self.saved = self.done

        def write() -> None:
            with atomic_file(self.folder / CHECKPOINT) as file:
                torch.save(state, file)
            self._log(*new)

        if large:
            self.beside.start(write)
        else:
            write()

    def _write_log(self) -> None:
        with atomic_file(self.folder / LOG) as file:
            file.write("".join(json.dumps(r) + "\n" for r in self.records).encode())

    def _log(self, *new: Mapping[str, Any]) -> None:
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write("".join(json.dumps(record) + "\n" for record in new))


def _read(path: Path) -> dict[str, Any]:
    """Load a checkpoint; no code in it is run, and its checksums are verified."""
    try:
        state = load_verified(path)
        return checked({**{k: state[k] for k in ("settings", "parts", "records", "rng")}, BEGUN: state.get(BEGUN, 0)})
    except (DataError, TypeError, ValueError, KeyError, IndexError) as why:
        said = f"{path} is damaged, edited or no checkpoint of a run ({' '.join(str(why).split())[:160]}): remove it to begin anew."
        raise DataError(said) from why
