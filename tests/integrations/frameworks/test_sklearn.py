"""Claims about scikit-learn: `CoresetTransformer` is an estimator like others, and chooses what `select` chooses."""

from typing import Any

import numpy as np
import pytest

from coreselect import Task, select
from coreselect.errors import CoreselectError
from coreselect.selectors import FacilityLocation, Herding

pytest.importorskip("sklearn", reason="needs the extra sklearn")
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from coreselect_integrations.frameworks.sklearn import CoresetTransformer

X = np.random.default_rng(0).normal(size=(90, 4))
Y = np.where(X[:, 0] > 0, "right", "left")


@parametrize_with_checks([CoresetTransformer(budget=1), CoresetTransformer("random", budget=1)])
def test_scikit_learn_takes_it_for_an_estimator(estimator: Any, check: Any) -> None:
    """All checks of `check_estimator` pass."""
    check(estimator)


@pytest.mark.parametrize("selector", ["facility_location", FacilityLocation(), Herding()])
def test_it_chooses_what_select_chooses(selector: Any) -> None:
    """By name or as an object; string classes are numbered, and weights have mean 1."""
    got = CoresetTransformer(selector, budget=0.2, seed=3).fit(X, Y)
    own = FacilityLocation() if isinstance(selector, str) else selector
    wanted = select(Task.from_arrays(features=X, labels=(Y == "right").astype(int)), own, 0.2, 3)
    assert np.array_equal(got.support_, wanted.indices)
    assert got.sample_weight_.mean() == pytest.approx(1)
    assert len(got.sample_weight_) == len(got.support_) == 18
    rows, classes = got.fit_resample(X, Y)
    assert np.array_equal(rows, X[wanted.indices])
    assert np.array_equal(classes, Y[wanted.indices])


def test_it_works_in_pipelines_and_searches() -> None:
    """A pipeline passes all rows on; a search clones it and sets its budget."""
    pipe = make_pipeline(StandardScaler(), CoresetTransformer("random", budget=10), LogisticRegression())
    found: Any = GridSearchCV(pipe, {"coresettransformer__budget": [5, 20]}, cv=2).fit(X, Y)
    assert found.best_estimator_[1].support_.shape == (found.best_params_["coresettransformer__budget"],)
    assert found.score(X, Y) > 0.9
    copy: Any = clone(CoresetTransformer("herding"))
    assert copy.selector == "herding"
    frame = pytest.importorskip("pandas", reason="pandas comes with datasets").DataFrame(X, columns=list("abcd"))
    rows, _ = CoresetTransformer("random", budget=10).fit_resample(frame, Y)
    assert list(rows.columns) == list("abcd")
    assert len(rows) == 10
    with pytest.raises(ValueError, match="inconsistent"):
        CoresetTransformer("random").fit(X, Y[1:])
    with pytest.raises(CoreselectError, match="needs"):
        CoresetTransformer("el2n").fit(X, Y)


def test_what_is_no_class_is_said_where_classes_are_needed() -> None:
    """A method that reads classes names what y is; resampling without y is refused in the words of scikit-learn."""
    with pytest.raises(CoreselectError, match="'moderate' needs classes, and y is continuous"):
        CoresetTransformer("moderate").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="requires y to be passed"):
        CoresetTransformer().fit_resample(X, None)
    assert len(CoresetTransformer("random", budget=5).fit(X, X[:, 0]).support_) == 5
