"""Choose from a stream that is read once, in a buffer of a stated size: sieve-streaming for facility location.

    f(S) = Σ_{i∈V} max_{j∈S} s_ij,   s = (1 + cos)/2,   V: a reference of stated size

Badanidiyuru, Mirzasoleiman, Karbasi, Krause, "Streaming submodular maximization: massive data summarization on the fly",
KDD 2014: f(S) ≥ (1/2 − ε)·max. This approximates `FacilityLocation`: the guarantee is smaller, and f is about the reference
instead of the whole stream.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coreselect.errors import BudgetError, NonFiniteError, ShapeError
from coreselect.gradients.products import dot_by_rows
from coreselect.selectors.label_free.features import unit
from coreselect.solvers.sieve import SieveStreaming
from coreselect.support.array_checks import as_array
from coreselect.types import Certificate, Float64, Int64


@dataclass(frozen=True, eq=False)
class StreamSelection:
    """What was chosen from a stream.

    Attributes:
        indices: int64 [k], positions in the stream, counted from 0 in the order in which it was read; in pick order.
        keys: the keys of the picks [k], if the stream carries keys, else None.
        seen: how many examples the stream held.
        certificate: f(S) and its guarantee.
        notes: what else there is to know.
    """

    indices: Int64
    keys: tuple[Any, ...] | None
    seen: int
    certificate: Certificate
    notes: tuple[str, ...]


def select_stream(
    stream: Iterable[Any], budget: int, *, reference: int | ArrayLike = 1000, epsilon: float = 0.1
) -> StreamSelection:
    """Choose exactly `budget` examples of a stream of features, which is read once and not stored.

    Memory beside one batch: the reference, and O(log(2k)/ε) sieves with a number per reference example and at most k picks each.
    Nothing is drawn at random: the answer depends on the order of the stream, and not on its batches.

    Args:
        stream: batches of features [B, D], or pairs (keys [B], features [B, D]).
        budget: k ≥ 1, a count; the length of a stream is not known, so a fraction would mean nothing.
        reference: V: how many of the first examples of the stream (≥ 1), or features [V, D] of your own, such as a random
            sample.
        epsilon: ε in (0, 1/2); memory and time are in proportion to 1/ε.
    Returns:
        The picks. If the best sieve has fewer than k, the lowest positions that are left follow; they cannot lower f.
    Raises:
        BudgetError: the budget is not a count, or the stream holds fewer examples.
        ShapeError: a batch is not a matrix, widths or numbers of keys disagree, or a setting is out of its range.
        NonFiniteError: features hold NaN or infinity; `indices` are positions in the stream.
    """
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise BudgetError(f"the budget of a stream must be a count of at least 1, got {budget!r}.")
    if not 0 < epsilon < 0.5:
        raise ShapeError(f"epsilon must lie in (0, 1/2), got {epsilon}.")
    given = None if isinstance(reference, int) else directions(reference, 0, None)
    wanted = reference if isinstance(reference, int) else len(given if given is not None else ())
    if wanted < 1:
        raise ShapeError(f"the reference must hold at least 1 example, got {wanted}.")
    V, waiting = given, []  # [V, D]; examples that wait until the reference is full
    sieve: SieveStreaming | None = None
    first: list[Any] = []  # keys of the first k examples
    seen, width, keyed = 0, None if V is None else V.shape[1], None
    for number, key, z, has_key in examples(stream, width):
        seen, keyed = number + 1, has_key
        first += [key] if len(first) < budget else []
        if V is None:
            waiting.append((number, key, z))
            if len(waiting) < wanted:
                continue
            V = np.stack([z for _, _, z in waiting])
        else:
            waiting = [(number, key, z)]
        sieve = sieve or SieveStreaming(len(V), budget, epsilon)
        for item in waiting:
            sieve.see(item[0], item[1], similarities(V, item[2]))
    if seen < budget:
        raise BudgetError(
            f"the stream holds {seen} examples and the budget is {budget}: ask for at most {max(seen, 1)}."
        )
    if V is None or sieve is None:  # the stream is shorter than its reference
        V = np.stack([z for _, _, z in waiting])
        sieve = SieveStreaming(len(V), budget, epsilon)
        for item in waiting:
            sieve.see(item[0], item[1], similarities(V, item[2]))
    best = sieve.best()
    picks = dict(best.picks)
    short = budget - len(picks)
    for number, key in enumerate(first):
        if len(picks) < budget:
            picks.setdefault(number, key)
    notes = (f"the best sieve took {len(best.picks)} of {budget}; the lowest positions that were left follow",)
    return StreamSelection(
        indices=np.array(list(picks), np.int64),
        keys=tuple(picks.values()) if keyed else None,
        seen=seen,
        certificate=certificate(best.value, min(sieve.upper, float(len(V))), len(V), given is None, epsilon),
        notes=notes if short else (),
    )


def examples(stream: Iterable[Any], width: int | None) -> Iterator[tuple[int, Any, Float64, bool]]:
    """Yield (position, key or None, φ/‖φ‖ [D], whether there are keys) for each example of a stream of batches.

    Args:
        width: D, if it is known.
    Raises:
        ShapeError, NonFiniteError: as `select_stream` says.
    """
    at, keyed = 0, None
    for batch in stream:
        has_keys = isinstance(batch, tuple | list) and len(batch) == 2
        given, features = batch if has_keys else (None, batch)
        Z = directions(features, at, width)  # [B, D]
        width = Z.shape[1]
        keys: list[Any] = [None] * len(Z) if given is None else list(given)
        if len(keys) != len(Z) or keyed not in (None, has_keys):
            raise ShapeError(
                f"a batch of the stream holds {len(Z)} examples and {len(keys) if has_keys else 'no'} keys: give every example "
                "of the stream a key, or none."
            )
        keyed = has_keys
        for key, z in zip(keys, Z, strict=True):
            plain: Any = getattr(key, "item", lambda key=key: key)  # of a tensor or an array, its number
            yield at, plain(), z, has_keys
            at += 1


def directions(features: Any, at: int, width: int | None) -> Float64:
    """Return φ/‖φ‖ of a batch [B, D] in float64; zeros stay zeros.

    Args:
        at: the position of its first example, for an error message.
        width: D, if it is known.
    """
    values = features.detach().cpu().numpy() if hasattr(features, "detach") else as_array("features", features)
    if values.ndim != 2 or values.dtype.kind != "f" or (width is not None and values.shape[1] != width):
        raise ShapeError(
            f"a stream must yield floating-point features [B, {width or 'D'}], got {values.dtype} {list(values.shape)} at "
            f"position {at}."
        )
    bad = at + np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise NonFiniteError(
            f"features of {len(bad)} examples of the stream hold NaN or infinity (from position {bad[0]} on): remove or "
            "correct them.",
            bad.tolist(),
        )
    return unit(values.astype(np.float64))


def similarities(V: Float64, z: Float64) -> Float64:
    """Return (1 + cos)/2 of the reference [V, D] to one example [D], in [0, 1]; with a zero vector the cosine is 0."""
    return ((1 + dot_by_rows(V, z)) / 2).clip(0.0, 1.0)


def certificate(value: float, upper: float, size: int, first: bool, epsilon: float) -> Certificate:
    """State f(S), and what sieve-streaming promises."""
    share = 0.5 - epsilon
    upper = max(value, min(upper, value / share))
    return Certificate(
        method="sieve-streaming",
        value=value,
        upper_bound=upper,
        ratio=value / upper if value > 0 else None,
        assumptions=(
            f"f(S) ≥ (1/2 − ε)·max = {share:g}·max over all sets of as many examples of the stream (Badanidiyuru et al. 2014)",
            f"f is summed over a reference of {size} examples"
            + (", the first of the stream: shuffle a stream that is sorted" if first else " that was given"),
            "how far f is from the same sum over the whole stream is not bounded",
        ),
        details={"guarantee": share, "reference": float(size)},
    )
