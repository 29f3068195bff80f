"""Repeat the steps of an earlier selection, so that it can be certified again."""

from typing import Any

import numpy as np
from torch import Tensor

from coreselect.certificates.instance import GreedyProblem
from coreselect.errors import RequirementError
from coreselect.types import Provenance, Selection

HOW = ("memory_format", "folded")  # how a model was run, which changes numbers by rounding alone


def check_same_task(provenance: Provenance, pool: str, task: dict[str, Any]) -> None:
    """Raise an error if a selection was made from another task.

    Args:
        provenance: of the selection.
        pool: the fingerprint of this task's pool.
        task: the record of this task's model, loss and attack.
    Raises:
        RequirementError: pool, model, loss, attack, head or capture differ.
    """
    here = {"pool": pool, **task}
    made_with = {"pool": provenance.fingerprint, **provenance.task}
    other = sorted(k for k in made_with if k not in HOW and made_with[k] != here.get(k))
    if other:
        raise RequirementError(
            f"the selection was made with another {' and another '.join(other)} than this task's: "
            "certify with the model, pool and settings it was made with."
        )


def replay(problem: GreedyProblem, selection: Selection) -> tuple[tuple[int, ...], Tensor]:
    """Return the groups of a selection in pick order, and θ′ [P] after its steps.

    Raises:
        RequirementError: the selection's groups are not groups of this problem.
    """
    order = tuple(int(g) for g in dict.fromkeys(selection.groups.tolist()))
    theta = problem.theta
    for m in order:
        kept = selection.indices[selection.groups == m]
        group = problem.rows.groups[m]
        if not np.array_equal(kept, group[: len(kept)]):
            raise RequirementError(
                "the selection's groups are not the groups of this task for its seed and round: "
                "certify with the pool, labels and settings it was made with."
            )
        row = problem.rows.full(m, None if len(kept) == len(group) else kept)
        theta = theta - problem.eta * len(kept) / len(group) * row.to(theta)
    return order, theta
