"""The rows of two lists of examples as one list, so that rows of one can be compared with rows of the other."""

from dataclasses import replace

import torch

from coreselect.gradients.factored import FactoredRows
from coreselect.gradients.rows import DenseRows, Rows, single_examples
from coreselect.gradients.store import allocate


def joined(first: Rows, second: Rows) -> FactoredRows | DenseRows:
    """Return rows of single examples one list after the other; both are of one model, in the same form.

    Raises:
        TypeError: one list is factored and the other is not, or they are spread over ranks.
    """
    if isinstance(first, FactoredRows) and isinstance(second, FactoredRows):
        parts = [
            replace(a, delta=torch.cat([a.delta, b.delta]), inputs=torch.cat([a.inputs, b.inputs]))
            for a, b in zip(first.parts, second.parts, strict=True)
        ]
        return FactoredRows(parts, first.layout)
    if not (isinstance(first, DenseRows) and isinstance(second, DenseRows)):
        raise TypeError(f"{type(first).__name__} and {type(second).__name__} cannot be joined.")
    n, m = first.count, second.count
    matrix = allocate(n + m, first.matrix.shape[1], like=first.matrix)
    matrix[:n], matrix[n:] = first.matrix, second.matrix
    return DenseRows(matrix, single_examples(n + m))
