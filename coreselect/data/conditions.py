"""Pools as they really are, made from a clean one: wrong labels, foreign images, rare classes, duplicates. Seeded and recorded.

    tail=r             n_c = n_0·r^(−c/(C−1)): class frequencies fall exponentially to 1/r (Cui et al., CVPR 2019), in an order
                       of the classes drawn from the seed
    duplicates=m       ⌈N/m⌉ images, each m times
    foreign=p:NAME     a share p of the images is replaced by images of another dataset, with labels drawn uniformly
    labels-wrong=p     a share p of the labels is replaced by another class, drawn uniformly (symmetric noise: Patrini et al.,
                       CVPR 2017)
    shift=NAME:s       validation and test are of another distribution than the pool: corruption NAME at severity s in 1…5 (3 if it
                       is left out). The commands that know corruptions apply it; `applied` leaves it to them.

They are applied in this order. Only the pool is changed; validation and test stay clean, but for a shift.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.data.images import names_of
from coreselect.data.labels import with_label
from coreselect.data.subsets import MapStyle, Taken
from coreselect.errors import DataError, RequirementError
from coreselect.support.seeding import derive

Mask = NDArray[np.bool_]
Int64 = NDArray[np.int64]
LARGEST = 1_000_000  # ratio of a tail, and number of copies
EXAMPLES = {
    "tail": "tail=20", "duplicates": "duplicates=10", "foreign": "foreign=0.5:cifar100", "labels_wrong": "labels-wrong=0.4",
    "shift": "shift=fog:3",
}  # fmt: skip


@dataclass(frozen=True)
class Conditions:
    """What is wrong with a pool.

    Attributes:
        tail: r ≥ 1, the most frequent class ÷ the rarest; None: the frequencies stay.
        duplicates: m ≥ 1, how often each image occurs.
        foreign: p in [0, 1), the share of images of another dataset.
        foreign_data: the name of that dataset.
        labels_wrong: p in [0, 1), the share of wrong labels among the pool's own images.
        shift: the name of the corruption of validation and test; None: they are as the pool.
        severity: of that corruption, in 1…5.
    """

    tail: float | None = None
    duplicates: int = 1
    foreign: float = 0.0
    foreign_data: str | None = None
    labels_wrong: float = 0.0
    shift: str | None = None
    severity: int = 3

    def __post_init__(self) -> None:
        if self.tail is not None and not 1 <= self.tail <= LARGEST:
            raise RequirementError(f"tail is a ratio of class sizes, from 1 to {LARGEST:,}, got {self.tail:g}.")
        if type(self.duplicates) is not int or not 1 <= self.duplicates <= LARGEST:
            raise RequirementError(f"duplicates is a number of copies, from 1 to {LARGEST:,}, got {self.duplicates}.")
        for name, share in (("foreign", self.foreign), ("labels-wrong", self.labels_wrong)):
            if not 0 <= share < 1:
                raise RequirementError(f"{name} is a share in [0, 1), got {share}.")
        if bool(self.foreign) != (self.foreign_data is not None):
            raise RequirementError(
                "foreign is written with the dataset that its images come from: foreign=0.5:cifar100."
            )
        if self.severity not in range(1, 6):
            raise RequirementError(f"the severity of a shift is one of 1…5, got {self.severity!r}: write shift=fog:3.")

    @classmethod
    def parse(cls, words: str) -> "Conditions":
        """Read `tail=20,labels-wrong=0.4,foreign=0.5:cifar100,duplicates=10,shift=fog:3`.

        Raises:
            RequirementError: a word is unknown or given twice, or a number is out of range.
        """
        found: dict[str, Any] = {}
        for word in (w.strip() for w in words.split(",")):
            name, _, value = (side.strip() for side in word.partition("="))
            key = name.replace("-", "_")
            if key not in EXAMPLES or key in found:
                *first, last = EXAMPLES.values()
                raise RequirementError(
                    f"a pool is described by {', '.join(first)} and {last}, each once, separated by commas, got {word!r}."
                )
            if key == "shift":
                found[key], _, number = (side.strip() for side in value.partition(":"))
                key, number = "severity", number or "3"
            else:
                number, _, data = value.partition(":") if key == "foreign" else (value, "", "")
                if data.strip():
                    found["foreign_data"] = data.strip()
            try:
                found[key] = int(number) if key in ("duplicates", "severity") else float(number)
            except ValueError:
                example = EXAMPLES["shift" if key == "severity" else key]
                raise RequirementError(f"{word!r} has no number: write {example}, for example.") from None
        return cls(**found)

    def __str__(self) -> str:
        """Write the words that `parse` reads."""
        words = {
            "tail": self.tail is not None and _plain(self.tail), "duplicates": self.duplicates > 1 and f"{self.duplicates}",
            "foreign": self.foreign and f"{_plain(self.foreign)}:{self.foreign_data}",
            "labels-wrong": self.labels_wrong and _plain(self.labels_wrong),
            "shift": self.shift is not None and f"{self.shift}:{self.severity}",
        }  # fmt: skip
        return ",".join(f"{name}={value}" for name, value in words.items() if value)

    def applied(self, pool: MapStyle, labels: Int64, *, seed: int, foreign: MapStyle | None = None) -> "ImpurePool":
        """Return the pool under these conditions; equal seeds give equal pools.

        Args:
            pool: N items (x, y).
            labels: int64 [N], those of its items.
            seed: of every draw.
            foreign: items whose first part is an image of the same shape, where `foreign` is above 0.
        Raises:
            RequirementError: there is no dataset of foreign images, or it has too few; or a class is too small for the tail.
            DataError: the pool has fewer than two classes, and a label is to be wrong.
        """
        classes = np.unique(labels)
        rng = np.random.default_rng(derive(seed, "conditions"))
        positions = np.arange(len(labels)) if self.tail is None else _tail(labels, classes, self.tail, rng)
        if self.duplicates > 1:
            few = np.sort(rng.permutation(len(positions))[: ceil(len(positions) / self.duplicates)])
            positions = np.repeat(positions[few], self.duplicates)[: len(positions)]
        n = len(positions)
        given, from_pool = labels[positions].copy(), np.ones(n, dtype=bool)
        if self.foreign:
            count = round(self.foreign * n)
            if foreign is None or len(foreign) < count:
                held = "none is given" if foreign is None else f"it has {len(foreign)}"
                raise RequirementError(f"{count} foreign images are needed, and {held}: give a larger dataset.")
            places = np.sort(rng.permutation(n)[:count])
            from_pool[places] = False
            positions[places] = np.sort(rng.permutation(len(foreign))[:count])
            given[places] = rng.choice(classes, count)
        wrong = np.zeros(n, dtype=bool)
        if self.labels_wrong:
            if len(classes) < 2:
                raise DataError("a label can only be wrong where there are two classes.")
            own = np.flatnonzero(from_pool)
            places = np.sort(rng.permutation(own)[: round(self.labels_wrong * len(own))])
            number = np.searchsorted(classes, given[places])
            given[places] = classes[(number + rng.integers(1, len(classes), len(places))) % len(classes)]
            wrong[places] = True
        true = np.where(from_pool, labels[np.where(from_pool, positions, 0)], -1)
        return ImpurePool(pool, foreign, positions, given, Truth(wrong, ~from_pool, true, positions))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about an impure pool of n items, for judging which picks a method makes.

    Attributes:
        wrong: bool [n], whether the label was replaced.
        foreign: bool [n], whether the image is of another dataset.
        label: int64 [n], the true class, −1 for foreign images.
        source: int64 [n], the position in the clean pool, or in the foreign dataset.
    """

    wrong: Mask
    foreign: Mask
    label: Int64
    source: Int64

    def shares(self, picks: Sequence[int] | Int64) -> dict[str, float]:
        """Return the shares of some picks that are wrong, foreign, of a rare class, and copies of another pick, each in [0, 1].

        Rare classes are those with fewer than half the mean frequency.
        """
        i = np.asarray(picks, np.int64)
        own = self.label >= 0
        counts = np.bincount(self.label[own], minlength=1)
        rare = counts < counts.sum() / max(1, (counts > 0).sum()) / 2
        seen = np.unique(np.stack([self.foreign[i], self.source[i]]), axis=1).shape[1]
        return {
            "wrong": float(self.wrong[i].mean()),
            "foreign": float(self.foreign[i].mean()),
            "rare": float((own[i] & rare[np.where(own[i], self.label[i], 0)]).mean()),
            "copies": 1 - seen / len(i),
        }


class ImpurePool(Taken):
    """Items (x, y), or mappings, of a pool under conditions.

    Attributes:
        targets: int64 [n], the labels as given.
        classes: the class names of the pool, or None.
        truth: what is wrong with each item.
        taken_from: the clean pool and the positions in it; None where images are foreign, or occur more than once.
    """

    def __init__(self, pool: MapStyle, foreign: MapStyle | None, positions: Int64, given: Int64, truth: Truth) -> None:
        self._pool, self._foreign, self._positions = pool, foreign, positions
        self.targets, self.truth = given, truth
        self.classes = names_of(pool)
        alone = foreign is None and len(np.unique(positions)) == len(positions)
        self.taken_from = (pool, positions) if alone else None

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Any:
        source = self._foreign if self.truth.foreign[index] else self._pool
        assert source is not None  # positions in it were drawn
        return with_label(source[int(self._positions[index])], int(self.targets[index]))


def shares_said(picks: Mapping[str, float], pool: Mapping[str, float]) -> str:
    """Say the shares of some picks beside those of the whole pool (`Truth.shares`), without kinds that neither has."""
    return ", ".join(
        f"{kind} {100 * own:.1f} % ({100 * pool[kind]:.1f} % of the pool)"
        for kind, own in picks.items()
        if own or pool[kind]
    )


def describe(conditions: Conditions, seed: int) -> dict[str, Any]:
    """Return the conditions and their seed as plain values, for the record of a run."""
    return {**asdict(conditions), "seed": seed}


def _plain(number: float) -> str:
    """Write a number as `float` reads it back, a whole one without its point."""
    return repr(float(number)).removesuffix(".0")


def recorded_conditions(record: Mapping[str, Any]) -> tuple[int, Conditions]:
    """Read what `describe` wrote: the seed, and the conditions."""
    own = dict(record)
    return own.pop("seed"), Conditions(**own)


def _tail(labels: Int64, classes: Int64, ratio: float, rng: np.random.Generator) -> Int64:
    """Return the positions that are left when class frequencies fall to 1/ratio, ascending.

    Raises:
        RequirementError: less than one image of the rarest class would be left.
    """
    order = rng.permutation(classes)
    most = min(int((labels == c).sum() * ratio ** (k / max(1, len(order) - 1))) for k, c in enumerate(order))
    if most < ratio and len(order) > 1:
        raise RequirementError(
            f"tail={ratio:g} leaves the most frequent class {most} of its images here, and the rarest less than one: give a larger "
            "pool or a smaller tail."
        )
    left = []
    for k, c in enumerate(order):
        members = rng.permutation(np.flatnonzero(labels == c))
        left.append(members[: round(most * ratio ** (-k / max(1, len(order) - 1)))])
    return np.sort(np.concatenate(left))
