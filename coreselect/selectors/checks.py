"""What selectors read from a snapshot, with a check that it is finite, in range, or not zero."""

import math
from collections.abc import Callable, Iterator

import torch
from scipy.special import log_softmax
from torch import Tensor

from coreselect.errors import OutOfBoundsError, RequirementError, ShapeError
from coreselect.gradients.inputs import refuse_labels
from coreselect.planning.needs import OwnWork
from coreselect.support.finite_checks import check_finite
from coreselect.support.limits import Needs, read_within
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64

LOGITS = 2**19  # that are widened to float64 at a time


def no_needs(width: int) -> Needs:
    """Return the needs of a method that says none."""
    return Needs()


def finite_features(
    snapshot: Snapshot, *, limit: float = math.inf, needs: Callable[[int], Needs] | None = None, name: str = ""
) -> Tensor:
    """Return the natural features [n, D] in half, single or double precision, on their device.

    Args:
        limit: features of this size and above are refused too, and features that are all smaller than its inverse: squares of
            them are no float64 numbers.
        needs: D → what the method needs; refused above the limits, before the features are read if D is known.
        name: of the method, for that refusal.
    Raises:
        RequirementError: there are no features, or the method needs more than the limits allow.
        NonFiniteError: some hold NaN or infinity, or are too large.
        OutOfBoundsError: all are too small.
    """
    needs = needs or no_needs
    features = read_within(snapshot.features, snapshot.feature_width, needs, name, snapshot.n)
    features = features if features.dtype in (torch.float16, torch.float32, torch.float64) else features.float()
    largest = check_finite(features, "features", snapshot.positions, limit=limit)
    if 0 < largest < 1 / limit:
        raise OutOfBoundsError(
            f"{name or 'this method'} squares features, and none is larger than {largest:.3g}: multiply them by a constant, so "
            f"that they are between {1 / limit:g} and {limit:g}."
        )
    return features


def finite_array(values: Tensor, what: str, positions: Int64) -> Float64:
    """Return values [B, …] as a float64 array.

    Args:
        what: the values' name in an error message.
        positions: int64 [B], the examples' positions in the pool.
    Raises:
        NonFiniteError: some hold NaN or infinity.
    """
    values = values.detach()
    check_finite(values, what, positions)
    return values.to("cpu", torch.float64).numpy()


def finite_logits(
    snapshot: Snapshot, *, attacked: bool = False, needs: Callable[[int], Needs] | None = None, name: str = ""
) -> Tensor:
    """Return the natural (or attacked) logits [n, C], C ≥ 2, on their device.

    Args:
        needs: C → what the method needs; refused above the limits, before the logits are read if C is known.
        name: of the method, for that refusal.
    Raises:
        RequirementError: there are no logits, or the method needs more than the limits allow.
        ShapeError: there is only one output, so there are no classes.
        NonFiniteError: logits hold NaN or infinity.
    """
    read = snapshot.attacked_logits if attacked else snapshot.logits
    logits = read_within(read, snapshot.logit_width, needs or no_needs, name, snapshot.n).detach()
    check_finite(logits, "logits", snapshot.positions)
    if logits.shape[1] < 2:
        raise ShapeError(
            f"a score of classes needs logits of at least 2 outputs, got {logits.shape[1]}: give a wider head."
        )
    return logits


def log_probabilities(logits: Tensor) -> Iterator[tuple[slice, Float64]]:
    """Yield (rows, their log softmax [b, C] in float64) for logits [n, C], in blocks."""
    at = 0
    for block in logits.split(max(1, LOGITS // logits.shape[1])):
        yield slice(at, at + len(block)), log_softmax(block.to("cpu", torch.float64).numpy(), axis=1)
        at += len(block)


def logit_work(n: int) -> OwnWork:
    """Return the work of a score of predictions: a few passes over logits [n, C] in float64, in O(n) memory."""
    return OwnWork("logits", lambda classes: Needs(read=64 * n * classes, memory=32 * n))


def class_labels(snapshot: Snapshot, classes: int) -> Int64:
    """Return the labels [n]; raise an error if one is outside 0…classes−1."""
    y = snapshot.labels()
    refuse_labels(snapshot.positions, torch.from_numpy(y), classes)
    return y


ZERO_QUERY = "the given validation gradient is exactly zero, so no example is better than another"


def nonzero_query(query: Tensor, snapshot: Snapshot, name: str) -> Tensor:
    """Return the first query of a selection, q(θ) [P].

    Args:
        name: of the method, for the message.
    Raises:
        RequirementError: a model's query is exactly zero, so every gain is 0 and the picks would be in index order. A gradient
            of zeros that the user gives is used as it is; `zero_note` says so.
    """
    if "inputs" in snapshot.provides and not bool(query.any()):
        raise RequirementError(
            f"{name!r} got a validation gradient that is exactly zero, so no example is better than another: look for an attack "
            "of radius 0, or a network whose outputs do not change with its input or its captured parameters (dead or saturated)."
        )
    return query


def zero_note(query: Tensor) -> tuple[str, ...]:
    """Return a note if the first query is exactly zero."""
    return () if bool(query.any()) else (ZERO_QUERY,)
