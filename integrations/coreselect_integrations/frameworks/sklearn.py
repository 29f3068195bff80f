"""scikit-learn: `CoresetTransformer`, a selection by arrays in the form of an estimator.

    chosen = CoresetTransformer("facility_location", budget=0.2).fit(X, y)
    model.fit(X[chosen.support_], y[chosen.support_], sample_weight=chosen.sample_weight_)

A transformer of scikit-learn may not drop rows, so in a `Pipeline` `transform` gives every row back. `fit_resample` gives the
chosen rows alone, which pipelines of imbalanced-learn call in training and leave out in prediction.
"""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from coreselect import Selector, Task, get_selector, select
from coreselect.budget import Budget
from coreselect.errors import RequirementError


class CoresetTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Choose rows of X by their features, and classes y where the method uses them.

    Args:
        selector: a name of `list_selectors()`, or a selector; one that needs features, labels or nothing.
        budget: a count, or a fraction in (0, 1].
        seed: of every random draw, ≥ 0.

    Attributes:
        support_: int64 [k], the chosen rows, in pick order.
        sample_weight_: float64 [k], their weights with mean 1; all 1 for methods without weights.
        selection_: the `Selection`.
        n_features_in_: D.
    """

    def __init__(self, selector: str | Selector = "k_center", budget: Budget = 0.1, seed: int = 0) -> None:
        self.selector, self.budget, self.seed = selector, budget, seed

    def fit(self, X: Any, y: Any = None) -> Self:
        """Select rows of X [N, D]; y [N] or None, of any type of class.

        Raises:
            ValueError: X or y has a wrong form, or holds NaN or infinity.
            CoreselectError: the budget is out of range, or the method needs more than features and classes.
        """
        X = validate_data(self, X, dtype=np.float64)
        task, selector = self._task(X, y), self._selector()
        if y is not None and "labels" in getattr(selector, "requires", ()) and "labels" not in task.provides:
            raise RequirementError(
                f"the selector {selector.name!r} needs classes, and y is {type_of_target(y)}: give one class for each row, or "
                "another selector."
            )
        self.selection_ = select(task, selector, self.budget, self.seed)
        self.support_ = self.selection_.indices
        weights = self.selection_.weights
        self.sample_weight_ = np.ones(len(self.support_)) if weights is None else weights / weights.mean()
        return self

    def transform(self, X: Any) -> Any:
        """Return X [N, D] as it is."""
        check_is_fitted(self)
        return validate_data(self, X, reset=False)

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Fit, and return the chosen rows of X and y.

        Raises:
            ValueError: there is no y.
        """
        if y is None:
            raise ValueError("fit_resample requires y to be passed, but the target y is None.")
        self.fit(X, y)
        return _rows(X, self.support_), _rows(y, self.support_)

    def _task(self, X: Any, y: Any) -> Task:
        labels = None
        if y is not None:
            check_consistent_length(X, y)
        if y is not None and type_of_target(y) in ("binary", "multiclass"):
            check_classification_targets(y)
            labels = np.unique(np.asarray(y).reshape(-1), return_inverse=True)[1]
        return Task.from_arrays(features=X, labels=labels)

    def _selector(self) -> Selector:
        return get_selector(self.selector) if isinstance(self.selector, str) else self.selector


def _rows(values: Any, at: Any) -> Any:
    """Return some rows of an array, a list, or a frame of pandas."""
    return values.iloc[at] if hasattr(values, "iloc") else np.asarray(values)[at]
