"""The kinds of no: every refusal is one sentence that says what was got, what was needed and what to do."""

from collections.abc import Sequence


class CoreselectError(Exception):
    """Base of every refusal this library makes."""


class BudgetError(CoreselectError):
    """A budget that is not a count in 1…N or a fraction in (0, 1]."""


class ShapeError(CoreselectError):
    """An array or tensor of the wrong shape, length or dtype."""


class HeadError(CoreselectError):
    """A model that cannot be seen as features → head as asked."""


class OverlapError(CoreselectError):
    """A validation example that is also in the pool."""


class RequirementError(CoreselectError):
    """A selector, objective or loss that needs something the task does not have."""


class NonFiniteError(CoreselectError):
    """NaN or infinity; `indices` are the pool (or validation) positions it came from."""

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(int(i) for i in indices)


class DataError(CoreselectError):
    """A dataset on disk, or an item of one, that cannot be read as images."""


class IndexFileError(CoreselectError):
    """An index file that is damaged, of another kind, or made for other data."""


class UnknownNameError(CoreselectError):
    """A name that no registry holds."""


class MissingExtraError(CoreselectError):
    """An optional dependency that is not installed; the message names the extra."""


class ScheduleError(CoreselectError):
    """A sampler asked for an epoch it was not told about, or restored into another schedule."""


class CoreselectWarning(UserWarning):
    """Base of every warning this library gives."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Say which extra brings the package that `purpose` needs."""
    return MissingExtraError(f"{purpose} needs {package}, which is not installed: pip install 'coreselect[{extra}]'.")


def name_some(indices: Sequence[int], most: int = 8) -> str:
    """Write the first few of many indices: `3, 7, 9 and 12 more`."""
    head = ", ".join(str(int(i)) for i in indices[:most])
    return head if len(indices) <= most else f"{head} and {len(indices) - most} more"
