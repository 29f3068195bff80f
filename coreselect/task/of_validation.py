"""Validation in the place of the pool: its examples, at the same model and under the same loss, so that they have rows too."""

from dataclasses import replace

import numpy as np

from coreselect.gradients.parts import alone
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.recipe import no_progress

OF_THE_MODEL = ("net", "factors hold")  # results that do not depend on the examples


def of_validation(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return a snapshot of all validation examples, numbered 0…|U|−1; the task must have some.

    Its rows are the gradients of the snapshot's loss there, in the same parameters. Inputs are attacked as those of the pool are.
    They are read as they are: an augmentation that makes the view of a pool example is left out. Every rank makes all of these
    rows, and no store keeps them.
    """
    task, context = snapshot.task, snapshot.context
    inner = replace(
        task,
        part="validation",
        pool=task.validation,
        pool_targets=task.validation_targets,
        validation=None,
        validation_targets=None,
        n=len(task.validation),
        positions=None,
        views=task.views if task.loss.views > 1 else None,
        num_workers=task.num_workers if task.timeout else 0,
        history=None,
        ids=None,
        store=None,
        work=None,
        kept=None,
        memo={"labels agree": False},  # labels are those of the items
    )
    everything = np.arange(inner.n, dtype=np.int64)
    return ModelSnapshot(
        inner,
        snapshot.model,
        replace(
            context,
            source=everything,
            disjoint=None,
            progress=no_progress,
            parts=alone,
            own_parts=alone,
            kept=None,
            cache={key: context.cache[key] for key in OF_THE_MODEL if key in context.cache},
        ),
        everything,
    )
