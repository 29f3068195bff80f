"""What a comparison refuses of its methods before the first epoch, not in the cell of the method after hours."""

from __future__ import annotations

from typing import Any

from coreselect.choosing import check_selector
from coreselect.history import History
from coreselect.objectives.following import parts
from coreselect_integrations.cli.checks_before_work import check_filters, classes_in
from coreselect_integrations.comparison import Study
from coreselect_integrations.networks import NetworkSpec, make
from coreselect_integrations.pretraining.selection_task import selection_task
from coreselect_integrations.pretraining.trusted_draws import TrustedDraws


def check_methods(study: Study, spec: NetworkSpec, pool: Any, held: Any) -> None:
    """Refuse methods that cannot select in these runs.

    Args:
        study: its methods and settings.
        spec: of the network that all of them train.
        pool, held: the pool and the validation images of one seed.
    Raises:
        RequirementError: a method cannot work on this network and loss, or its filter leaves too few images for a share.
        DataError: it needs labels that the validation images lack.
    """
    network, history = make(spec, study.settings.seed), History(len(pool), features=True)
    for method in study.methods:
        selector = study.make(method, study.settings)
        chosen = selector.selector if isinstance(selector, TrustedDraws) else selector
        if chosen is not None:
            own = study.own(method, study.settings)
            check_selector(chosen, selection_task(own, network, pool, held, history))
        towards = any(getattr(part, "target", None) == "validation" for part in parts(selector))
        if isinstance(selector, TrustedDraws) or towards or "validation_labels" in selector.requires:
            classes_in(held, "the validation set", method)
        for fraction in study.fractions:
            check_filters(selector, fraction, pool)
