"""One run of a race: an ordinary training in a folder, which ends in time, and the judgement of its network."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coreselect.data import names_of
from coreselect_integrations.comparison.cell_files import TRACEBACK, write_json
from coreselect_integrations.networks import MODEL, save_network
from coreselect_integrations.pretraining.run import Pretrained, pretrain
from coreselect_integrations.pretraining.trained import EPOCH
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.elapsed import Elapsed
from coreselect_integrations.racing.judging import Judge
from coreselect_integrations.racing.plan import Length
from coreselect_integrations.racing.record_checks import believed, why_no_record, why_no_spent
from coreselect_integrations.racing.setting import Images, Place, Race

RECORD, SPENT = "arm.json", "spent.json"
SAVED = 20  # checkpoints of a run
OVER = 1.2  # a run of a rung is ended early when it takes so much longer than planned


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Args:
        arm, length, seed: what is trained.
        rung: None for the last training.
        folder: of the run; it gets the record too.
        seconds: planned, judging included.
        judging: seconds of judging, as far as is known.
        deadline: of the race's time, judging included: the run never goes on into an epoch that would end later.
    """

    arm: Arm
    rung: int | None
    length: Length
    seed: int
    folder: Path
    seconds: float
    judging: float
    deadline: float

    def __call__(self, race: Race, images: Images, place: Place, judge: Judge, elapsed: Elapsed) -> dict[str, Any]:
        """Train and judge, and return the record, which the folder holds too; an error of the run is a record.

        A run that was killed goes on. A run that is late ends after the epoch in which it notices, and is judged as it is: its
        record has `cut`. The folder has a `model.pt` in any case.
        """
        about = {
            **self.given, "done": 0, "examples": 0, "robust": None, "standard": None, "n": 0, "right": "", "cut": False,
            "error": None,
        }  # fmt: skip
        since = place.clock() - self._spent()
        try:
            result = self._trained(race, images, place, elapsed, since)
            done = [r["examples"] for r in result.records]
            about |= {"done": len(done), "examples": sum(done), "cut": len(done) < self.length.epochs}
            if about["cut"]:
                self._save(result, race, images.pool)
            trained = place.clock()
            about |= {"train_seconds": trained - since}
            about |= judge(result.network, torch.device(place.device or "cpu"), _alive(place, elapsed))
            about |= {"judge_seconds": place.clock() - trained}
        except Exception as why:  # whatever a method does, the others race on
            about["error"] = f"{type(why).__name__}: {' '.join(str(why).split())}"
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        about["seconds"] = place.clock() - since
        write_json(self.folder / RECORD, about)
        return about

    @property
    def given(self) -> dict[str, Any]:
        """What the run was given, by the names of its record."""
        return {
            "arm": self.arm.name, "rung": self.rung, "seed": self.seed, **asdict(self.length), "planned": self.seconds,
        }  # fmt: skip

    def record(self, images: Images) -> dict[str, Any] | None:
        """Read the record of the run; None if it has not ended.

        Raises:
            DataError: it cannot be believed.
        """
        path = self.folder / RECORD
        if not path.exists():
            return None
        n, way = len(images.judged), "remove it, and the arm is trained or judged again"
        return believed(path, lambda held: why_no_record(held, self.given, n), way)

    def _spent(self) -> float:
        """Return the seconds that earlier sessions spent on the epochs that are kept."""
        path = self.folder / SPENT
        way = "remove it, and the seconds before no longer count"
        return float(believed(path, why_no_spent, way)["seconds"]) if path.exists() else 0.0

    def _save(self, result: Pretrained, race: Race, pool: Any) -> None:
        """Write the network of a run that ended early, as `pretrain` writes that of a whole run."""
        own = self.arm.settings(race.settings, self.length, self.seed)
        about = {
            **asdict(own), "flip": result.spec.channels > 1 if own.flip is None else own.flip, "selector": self.arm.method,
            "network": asdict(result.spec), "pool_size": len(pool), EPOCH: len(result.records) - 1,
        }  # fmt: skip
        names = names_of(pool) if own.supervised else None
        save_network(self.folder / MODEL, result.network, result.spec, about, names)

    def _trained(self, race: Race, images: Images, place: Place, elapsed: Elapsed, since: float) -> Pretrained:
        """Train until the end, or as long as the time allows."""
        settings = self.arm.settings(race.settings, self.length, self.seed)
        before = place.clock()

        def ended(record: Mapping[str, Any]) -> bool:
            nonlocal before
            now = place.clock()
            write_json(self.folder / SPENT, {"seconds": now - since})
            elapsed.beat()
            epoch, before = now - before, now
            late = now - since + epoch + self.judging > OVER * self.seconds and self.rung is not None
            return late or elapsed.seconds + epoch + self.judging > self.deadline

        return pretrain(
            settings, images.pool, images.validation, self.folder, ended=ended, progress=_alive(place, elapsed),
            selector=self.arm.selector(race.settings), weights=race.start, keep_every=max(1, self.length.epochs // SAVED),
            **place.where,
        )  # fmt: skip


def _alive(place: Place, elapsed: Elapsed) -> Any:
    """Return a report of progress that gives signs of life too."""

    def report(part: str, done: int, total: int) -> None:
        if place.progress is not None:
            place.progress(part, done, total)
        elapsed.beat()

    return report
