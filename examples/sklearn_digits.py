"""A classifier of scikit-learn on 100 of 1,200 scanned digits: chosen to cover the features, and at random."""

# %% Data
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from coreselect_integrations.frameworks.sklearn import CoresetTransformer

X, y = load_digits(return_X_y=True)
X_train, y_train, X_test, y_test = X[:1200] / 16, y[:1200], X[1200:] / 16, y[1200:]

# %% Choose, and train with the weights
for name in ("facility_location", "random"):
    chosen = CoresetTransformer(name, budget=100, seed=0).fit(X_train, y_train)
    model = LogisticRegression(max_iter=300)
    model.fit(X_train[chosen.support_], y_train[chosen.support_], sample_weight=chosen.sample_weight_)
    print(f"{name}: accuracy {model.score(X_test, y_test):.3f}")
