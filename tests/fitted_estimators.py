"""A table of small estimators in many states, for tests of what carries them over."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor, ConformalRegressor
from sklearn_ann.tables import preprocessing

QUICK = {
    "hidden_layer_sizes": (5, 4),
    "max_iter": 4,
    "early_stopping": False,
    "random_state": 0,
}
# The ensemble that defaults are, but of small networks.
OWN = {**QUICK, "early_stopping": "auto"}

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.1 * rng.normal(size=60)
LABELS = np.array(["low", "middle", "high"])[np.digitize(Y, [0.0, 1.0])]
FRAME = pd.DataFrame({"age": X[:, 0], "hours": X[:, 1], "region": LABELS[::-1]})
# As tables come: text, categories of numbers, many levels, truths and missing values.
TABLE = FRAME.assign(
    firm=[f"firm {i % 40}" for i in range(60)],
    year=pd.Categorical(2000 + np.arange(60) % 4),
    union=Y > 0.3,
)
TABLE.loc[::7, ["age", "region", "year"]] = None


def regressor(**parameters):
    return ANNRegressor(**{**QUICK, **parameters})


def classifier(**parameters):
    return ANNClassifier(**{**QUICK, **parameters})


def columns():
    return ColumnTransformer(
        [
            ("scaled", StandardScaler(), ["age", "hours"]),
            ("coded", OneHotEncoder(), ["region"]),
        ]
    )


# Name: estimator, X, y.
OURS = {
    "regressor": (regressor(), X, Y),
    "no hidden layer": (regressor(hidden_layer_sizes=()), X, Y),
    "skip": (regressor(linear_skip=True, activation=["tanh", "silu"]), X, Y),
    "unscaled": (regressor(standardize=False), X, Y),
    "several outputs": (regressor(), X, np.c_[Y, -Y]),
    "huber": (regressor(loss="huber", huber_delta=0.7), X, Y),
    "poisson": (regressor(loss="poisson"), X, np.exp(Y)),
    "quantiles": (regressor(loss="quantile", quantile=(0.1, 0.5, 0.9)), X, Y),
    "early stopping": (regressor(early_stopping=True, dropout=0.1), X, Y),
    "scorer": (regressor(early_stopping=True, scoring="r2"), X, Y),
    "ensemble": (regressor(n_estimators=3), X, Y),
    "restarts": (regressor(n_init=2), X, Y),
    "NumPy's numbers": (regressor(alpha=np.float64(0.1), n_init=np.int64(1)), X, Y),
    "random state": (regressor(random_state=np.random.RandomState(3)), X, Y),
    "diverged": (regressor(solver="sgd", learning_rate_init=1e9), X, Y),
    "warm adam": (regressor(warm_start=True, dropout=0.1), X, Y),
    "warm sgd": (regressor(warm_start=True, solver="sgd"), X, Y),
    "warm lbfgs": (regressor(warm_start=True, solver="lbfgs"), X, Y),
    "warm ensemble": (regressor(warm_start=True, n_estimators=2), X, Y),
    "names": (regressor(), FRAME[["age", "hours"]], Y),
    "words": (classifier(), X, LABELS),
    "words as objects": (classifier(), X, LABELS.astype(object)),
    "truths": (classifier(class_weight={False: 2.0}), X, Y > 0),
    "numbers": (classifier(class_weight="balanced"), X, np.where(Y > 0, 7, 5)),
    "one class": (classifier(), X, np.zeros(60, dtype=int)),
    "labels": (classifier(), X, np.c_[Y > 0, Y > 1].astype(int)),
    "classifiers": (classifier(n_estimators=2), X, LABELS),
    "defaults": (ANNRegressor(**OWN), TABLE, Y),
    "defaults, classes": (ANNClassifier(**OWN), TABLE, LABELS),
    "defaults, numbers": (ANNRegressor(**OWN), X, Y),
    "defaults, ramps": (
        ANNRegressor(**OWN, numeric_embedding="piecewise_linear", n_estimators=2),
        TABLE,
        Y,
    ),
    "table, no hidden layer": (regressor(hidden_layer_sizes=()), TABLE, Y),
    "table, warm": (regressor(warm_start=True), TABLE, Y),
    "table, standard": (regressor(standardize="standard"), TABLE, Y),
    "array with categories": (
        regressor(categorical_features=[1]),
        np.c_[X[:, 0], np.arange(60) % 3],
        Y,
    ),
    "ramps": (regressor(numeric_embedding="piecewise_linear"), X, Y),
    "waves": (regressor(numeric_embedding="periodic"), X, Y),
    "conformal": (ConformalRegressor(regressor(), random_state=0), X, Y),
}
WITH_OTHERS = {
    "pipeline": (make_pipeline(StandardScaler(), regressor()), X, Y),
    "pipeline of a table": (
        make_pipeline("passthrough", ANNRegressor(**OWN)),
        TABLE,
        Y,
    ),
    "bag of defaults": (
        BaggingRegressor(ANNRegressor(**OWN), n_estimators=2, random_state=0),
        X,
        Y,
    ),
    "imputed": (make_pipeline(preprocessing(FRAME), regressor()), FRAME, Y),
    "columns": (make_pipeline(columns(), classifier()), FRAME, LABELS),
    "search": (
        GridSearchCV(
            make_pipeline(StandardScaler(), regressor()),
            {"annregressor__alpha": [0.1, 1.0]},
            cv=2,
        ),
        X,
        Y,
    ),
    "bag": (BaggingRegressor(regressor(), n_estimators=2, random_state=0), X, Y),
    "transformed target": (TransformedTargetRegressor(regressor()), X, Y),
    "conformal pipeline": (
        ConformalRegressor(make_pipeline(StandardScaler(), regressor())),
        X,
        Y,
    ),
    "frozen": (
        FrozenEstimator(make_pipeline(StandardScaler(), ANNRegressor(())).fit(X, Y)),
        X,
        Y,
    ),
}


@cache
def fitted(name):
    """Return one of the table, fitted, or the best of a search, and its X: to read."""
    estimator, x, y = (OURS | WITH_OTHERS)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = clone(estimator).fit(x, y)
    return getattr(estimator, "best_estimator_", estimator), x


def answers(estimator, x):
    """Predictions, and probabilities where there are any."""
    names = [n for n in ("predict", "predict_proba") if hasattr(estimator, n)]
    return [getattr(estimator, name)(x) for name in names]
