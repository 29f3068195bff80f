"""The exceptions of the library: each message is one sentence that says what was got, what is needed and what to do."""

from collections.abc import Sequence


class CoreselectError(Exception):
    """The base class of every error that this library raises on purpose."""


class BudgetError(CoreselectError):
    """A budget that is not a count in 1…N or a fraction in (0, 1]."""


class ShapeError(CoreselectError):
    """An array or tensor with a wrong shape, length or dtype, or a number out of its range."""


class OutOfBoundsError(ShapeError):
    """Inputs outside the bounds of an attack, which would clip them."""


class HeadError(CoreselectError):
    """A model that cannot be split into features and head as asked."""


class OverlapError(CoreselectError):
    """A validation example that is also in the pool."""


class RequirementError(CoreselectError):
    """A selector, objective or loss that needs something that the task does not have."""


class NonFiniteError(CoreselectError):
    """NaN or infinity; `indices` are the positions of the examples, in the pool or in validation."""

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(int(i) for i in indices)


class DataError(CoreselectError):
    """A dataset on disk, or an item of a dataset, that cannot be read as images."""


class IndexFileError(CoreselectError):
    """An index file that is damaged, has another format, or was made for other data."""


class StoreError(CoreselectError):
    """A folder of stored rows that cannot be used: it is another run's, in use, damaged, full or not writable."""


class UnknownNameError(CoreselectError):
    """A name that is not registered."""


class MissingExtraError(CoreselectError):
    """An optional package that is not installed; the message names the extra that installs it."""


class ScheduleError(CoreselectError):
    """A sampler that is read out of its schedule: without `set_epoch`, in another epoch, or by other ranks than it deals to."""


class CoreselectWarning(UserWarning):
    """The base class of every warning that this library gives."""


class SingleExamplesWarning(CoreselectWarning):
    """Single examples are about to be picked by their gain, or their cosine with validation, alone."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Make the error for a missing package: `purpose` needs `package`, which the extra `extra` installs."""
    return MissingExtraError(f"{purpose} needs {package}, which is not installed: pip install 'coreselect[{extra}]'.")


def first_few(items: Sequence[int] | Sequence[str], most: int = 8) -> str:
    """Write the first items of a list and the number of the others: `3, 7, 9 and 12 more`."""
    head = ", ".join(item if isinstance(item, str) else str(int(item)) for item in items[:most])
    return head if len(items) <= most else f"{head} and {len(items) - most} more"
