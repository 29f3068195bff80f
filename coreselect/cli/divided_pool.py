"""The pool and the validation set that --pool and --validation-data ask for; what `select` cannot write as positions is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import typer

from coreselect.budget import count_or_share
from coreselect.cli.options import ConditionOptions, PoolOptions
from coreselect.data.conditions import Conditions, ImpurePool, describe, recorded_conditions
from coreselect.data.images import labels_of, names_of
from coreselect.data.labels import why_unlabelled
from coreselect.data.reading import read_labels
from coreselect.data.subsets import holdout, origin
from coreselect.errors import BudgetError, DataError, RequirementError
from coreselect.io.fingerprint import fingerprint
from coreselect.types import Selection


@dataclass(frozen=True)
class Divided:
    """The images of a selection, divided.

    Attributes:
        pool, held: the images to choose from, and those for validation.
        record: how validation came about, for the index file.
        conditions: of the pool and their seed, for the index file; empty for a pool as it is.
    """

    pool: Any
    held: Any
    record: dict[str, Any]
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def impure(self) -> ImpurePool | None:
        """The pool, where it is under conditions."""
        return self.pool if isinstance(self.pool, ImpurePool) else None


def conditions_in(asked: ConditionOptions, images: PoolOptions) -> Conditions | None:
    """Read the words of --pool, without any data; None where the pool stays as it is.

    Raises:
        RequirementError: they cannot be read.
        typer.BadParameter: there are two validation sets.
    """
    if asked.validation_data is not None and images.validation is not None:
        raise typer.BadParameter("--validation would be without effect: --validation-data names the validation set.")
    return None if asked.conditions is None else Conditions.parse(asked.conditions)


def conditions_of_positions(asked: ConditionOptions, images: PoolOptions) -> Conditions | None:
    """Read the words of --pool for an index file, which names every pick by its position in --data.

    Raises:
        RequirementError, typer.BadParameter: see `conditions_in`; or a pick would have no position of its own.
    """
    conditions = conditions_in(asked, images)
    if conditions is None:
        return None
    elsewhere = "use 'coreselect train' or 'coreselect compare' with these words, or leave it out"
    if conditions.foreign:
        raise RequirementError(
            f"--pool foreign would put images of {conditions.foreign_data} into the pool, and an index file names picks by their "
            f"positions in --data: {elsewhere}."
        )
    if conditions.duplicates > 1:
        raise RequirementError(
            f"--pool duplicates={conditions.duplicates} would put images into the pool {conditions.duplicates} times, and an index "
            f"file names each position of --data once: {elsewhere}."
        )
    if conditions.shift is not None:
        raise RequirementError(
            f"--pool shift={conditions.shift} corrupts validation images, which 'select' does not do: give corrupted ones by "
            "--validation-data, or use 'coreselect train' or 'coreselect compare' with these words."
        )
    return conditions


def divided(asked: ConditionOptions, images: PoolOptions, dataset: Any, share: float, seed: int) -> Divided:
    """Divide a dataset as `train` does: hold validation out, or read the user's own, and put the pool under conditions.

    Args:
        images: how `dataset` was read; the validation set is read in the same way.
        share: how many images are held out, a share below 1 or a count.
        seed: of the holdout and of the conditions.
    Raises:
        RequirementError, typer.BadParameter: see `conditions_of_positions`.
        DataError: conditions need labels, and there are none; or the validation set does not fit.
        BudgetError: --validation leaves one side empty.
    """
    conditions = conditions_of_positions(asked, images)
    if asked.validation_data is None:
        with naming_option(share, len(dataset)):
            pool, held = holdout(dataset, count_or_share(share), seed)
        record: dict[str, Any] = {"size": share, "seed": seed, "examples": len(held)}
    else:
        pool, held = dataset, beside(asked.validation_data, images, dataset)
        _refuse_other_classes(held, asked.validation_data, dataset, images.data)
        record = {"data": asked.validation_data, "fingerprint": fingerprint(held), "examples": len(held)}
    if conditions is None:
        return Divided(pool, held, record)
    why = f"--pool needs labels, and {images.data} has none{why_unlabelled(dataset)}: items (x, y) with an integer y are needed."
    return Divided(_applied(conditions, pool, seed, why), held, record, describe(conditions, seed))


@contextmanager
def naming_option(size: float, n: int, option: str = "--validation") -> Iterator[None]:
    """Say which option asked for it when n images cannot be divided.

    Raises:
        BudgetError: as the block does, in those words.
    """
    try:
        yield
    except BudgetError as error:
        why = f"{option} {size:g} of {n:,} images leaves one side empty: give a count from 1 to {n - 1:,}."
        raise BudgetError(why) from error


def _applied(conditions: Conditions, pool: Any, seed: int, why: str) -> ImpurePool:
    """Put a pool under conditions.

    Raises:
        DataError: it has no labels, with the sentence `why`.
    """
    labels = read_labels(pool, seed=seed)
    if labels is None:
        raise DataError(why)
    return conditions.applied(pool, labels, seed=seed)


def impure_again(selection: Selection, dataset: Any) -> ImpurePool | None:
    """Return the impure pool of a selection as its record describes it; None where the pool was left as it is.

    Args:
        dataset: the images that `select` read.
    Raises:
        DataError: the dataset has no labels now.
        RequirementError: picks have no position in it.
    """
    command = selection.provenance.command
    if command.get("joined"):
        raise RequirementError(
            "this selection draws from the validation set too, so that picks have no position in the data: leave out --data."
        )
    if not command.get("conditions"):
        return None
    held, (seed, conditions) = command["validation"], recorded_conditions(command["conditions"])
    if conditions.foreign or conditions.duplicates > 1:
        raise RequirementError(
            f"this selection was made in a pool under {conditions}, where images come from elsewhere or several times, so that "
            "picks have no position in the data: leave out --data."
        )
    pool = holdout(dataset, count_or_share(held["size"]), held["seed"])[0] if "size" in held else dataset
    why = "this selection was made in a pool of labelled images, and the dataset has no labels now."
    return _applied(conditions, pool, seed, why)


def classes_of(dataset: Any, impure: ImpurePool | None) -> dict[str, Any]:
    """Return what a table of classes is made from: labels by position in the dataset, names, and the labels of an impure pool."""
    labels = labels_of(dataset)
    if labels is not None and impure is not None:
        labels = labels.copy()
        labels[origin(impure)[1]] = impure.targets
    return {"labels": labels, "class_names": names_of(dataset), "pool": None if impure is None else impure.targets}


def beside(data: str, images: PoolOptions, dataset: Any) -> Any:
    """Read the training part of another dataset, resized to the images of `dataset` where they are of another size.

    Raises:
        DataError: the images have another shape all the same.
    """
    read = replace(images, data=data, rows=None)
    needed, found = _shape(dataset), read.read("train", None)
    if _shape(found)[1:] != needed[1:]:
        found = replace(read, size=needed[-1]).read("train", None)
    if _shape(found) != needed:
        raise DataError(
            f"{data} has images {list(_shape(found))}, {images.data} has {list(needed)}: channels and sides must be equal."
        )
    return found


def _shape(dataset: Any) -> tuple[int, ...]:
    """Return the shape of the first image."""
    item = dataset[0]
    return tuple((item[0] if isinstance(item, tuple | list) else item).shape)


def _refuse_other_classes(held: Any, data: str, dataset: Any, name: str) -> None:
    """Refuse listed labels of a validation set that the pool does not have.

    Raises:
        DataError: they go further than those of the pool.
    """
    known, found = labels_of(dataset), labels_of(held)
    if known is not None and found is not None and found.max() > known.max():
        raise DataError(
            f"{data} has labels up to {found.max()}, and {name} has the classes 0…{known.max()}: give a validation set of the same "
            "classes."
        )
