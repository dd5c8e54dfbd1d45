"""Whatever is drawn: it fits and predicts numbers, or it is refused in words.

A refusal is a ValueError or TypeError that somebody wrote: scikit-learn's validation,
or a ``raise`` of ours. An error that merely happened is none.
"""

import linecache
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from draws import (
    CLASSIFIER,
    REGRESSOR,
    SIZES,
    classification_targets,
    generator,
    parameters,
    regression_targets,
    tables,
    weights,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import (
    ConvergenceWarning,
    DataConversionWarning,
    UndefinedMetricWarning,
)
from states import described

import sklearn_ann
from sklearn_ann import ANNClassifier, ANNRegressor

OURS = str(Path(sklearn_ann.__file__).parent)
THEIRS = str(Path(sklearn.__file__).parent)
REFUSALS = (ValueError, TypeError)
# Warnings that are promised; all others are errors.
PROMISED = (
    (ConvergenceWarning, "Training reached max_iter"),
    (ConvergenceWarning, "Training became non-finite"),
    (DataConversionWarning, "A column-vector y was passed"),
    (UserWarning, "The number of unique classes is greater than 50%"),
    (UndefinedMetricWarning, "R^2 score is not well-defined"),  # of one row
    (UserWarning, "X does not have valid feature names"),
    (UserWarning, "X has feature names"),
)


def is_refusal(error):
    """Whether somebody wrote this error for the user, rather than that it happened."""
    if not isinstance(error, REFUSALS):
        return False
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if f.filename.startswith((OURS, THEIRS))
    ]
    last = frames[-1]
    if last.filename.startswith(THEIRS):  # its validation converts and says so
        return True
    return linecache.getline(last.filename, last.lineno).strip().startswith("raise ")


def check_warnings(caught):
    for warning in caught:
        text = str(warning.message)
        assert any(
            issubclass(warning.category, kind) and text.startswith(start)
            for kind, start in PROMISED
        ), f"{warning.category.__name__}: {text}"
    training = [w for w in caught if w.category is ConvergenceWarning]
    assert len(training) <= 1


def check_numbers(model, X, n):
    predicted = model.predict(X)
    if isinstance(model, ANNRegressor):
        levels = len(np.atleast_1d(model.quantile)) if model.loss == "quantile" else 1
        columns = max(model.n_outputs_, levels)
        assert predicted.shape == ((n,) if columns == 1 else (n, columns))
        assert predicted.dtype == np.float64
        assert np.isfinite(predicted).all()
        return
    probability, multilabel = model.predict_proba(X), model._target.kind == "multilabel"
    assert probability.shape == (n, len(model.classes_))
    assert np.isfinite(probability).all()
    assert probability.min() >= 0 and probability.max() <= 1
    assert not np.isnan(model.predict_log_proba(X)).any()
    if multilabel:
        assert predicted.shape == (n, len(model.classes_))
        assert set(np.unique(predicted)) <= {0, 1}
        return
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-9)
    assert predicted.shape == (n,)
    assert predicted.dtype == model.classes_.dtype
    assert np.isin(predicted, model.classes_).all()


def attempt(model, method, X, y, weight, **options):
    """Call fit or partial_fit and say whether it was refused; check what it leaves."""
    before, attributes = described(vars(model)), dict(vars(model))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("error", category=RuntimeWarning, module="sklearn_ann")
        try:
            getattr(model, method)(X, y, sample_weight=weight, **options)
        except Exception as error:
            if not is_refusal(error):
                raise
            assert vars(model).keys() == attributes.keys()
            assert described(vars(model)) == before
            return True
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        fitted = described(vars(model))
        check_numbers(model, X, n)
        assert described(vars(model)) == fitted
    check_warnings(caught)
    assert np.isfinite(model.loss_) or model.status_ == "not finite"
    return False


@st.composite
def data(draw, Estimator, rng, n=None):
    """Rows to fit to: X, y, row weights, and what else fit takes."""
    n = draw(st.sampled_from(SIZES)) if n is None else n
    target = regression_targets
    if Estimator is ANNClassifier:
        target = classification_targets
    X, y = draw(tables(rng, n, draw(st.integers(1, 5)))), draw(target(rng, n))
    extra = draw(st.sampled_from([*["none"] * 6, "validation", "groups", "one group"]))
    options = {
        "none": {},
        "validation": {"X_val": (X,), "y_val": (y,)},
        "groups": {"groups": rng.integers(0, 5, n)},
        "one group": {"groups": np.zeros(n)},
    }
    return X, y, draw(weights(rng, n)), options[extra]


@st.composite
def cases(draw, Estimator):
    table = REGRESSOR if Estimator is ANNRegressor else CLASSIFIER
    model = Estimator(**draw(parameters(table)))
    return model, *draw(data(Estimator, draw(generator())))


def seeded(n):
    """The same cases wherever it runs."""
    return settings(
        max_examples=n,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def check_case(model, X, y, weight, options):
    attempt(model, "fit", X, y, weight, **options)


@seeded(70)
@given(cases(ANNRegressor))
def test_regressors(case):
    check_case(*case)


@seeded(70)
@given(cases(ANNClassifier))
def test_classifiers(case):
    check_case(*case)


@pytest.mark.slow
@seeded(1000)
@given(cases(ANNRegressor))
def test_many_regressors(case):
    check_case(*case)


@pytest.mark.slow
@seeded(1000)
@given(cases(ANNClassifier))
def test_many_classifiers(case):
    check_case(*case)


# ------------------------------------------------------------- one call after another


@st.composite
def stories(draw, Estimator):
    """An estimator, and several calls of its methods: data and changed parameters."""
    table = REGRESSOR if Estimator is ANNRegressor else CLASSIFIER
    model = Estimator(**draw(parameters(table)))
    rng, steps = draw(generator()), []
    for _ in range(draw(st.integers(2, 4))):
        method = draw(st.sampled_from(["fit", "partial_fit", "partial_fit"]))
        changes = draw(st.one_of(st.just({}), st.just({}), parameters(table)))
        steps.append((method, changes, draw(data(Estimator, rng, n=10))))
    # Often the same columns and labels again, so that calls go on from one another.
    again = draw(st.booleans())
    return model, [(m, c, steps[0][2] if again else d) for m, c, d in steps]


def predictions(model, X):
    method = "predict" if isinstance(model, ANNRegressor) else "predict_proba"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names that come and go
        return getattr(model, method)(X)


def tell(model, steps):
    """Call after call: what is refused leaves predictions as they were, bit by bit."""
    known = None
    for method, changes, (X, y, weight, options) in steps:
        model.set_params(**changes)
        if method == "partial_fit":
            if not hasattr(model, "partial_fit"):
                continue
            options = {}
            if isinstance(model, ANNClassifier) and not hasattr(model, "classes_"):
                options = {"classes": every_class(y)}
        refused = attempt(model, method, X, y, weight, **options)
        if not refused:
            known = X, predictions(model, X)
        elif known is not None:
            np.testing.assert_array_equal(predictions(model, known[0]), known[1])


def every_class(y):
    return np.arange(2) if getattr(y, "ndim", 1) == 2 else list(set(np.asarray(y)))


@seeded(30)
@given(stories(ANNRegressor))
def test_regressors_call_after_call(story):
    tell(*story)


@seeded(30)
@given(stories(ANNClassifier))
def test_classifiers_call_after_call(story):
    tell(*story)


@pytest.mark.slow
@seeded(400)
@given(stories(ANNRegressor))
def test_many_regressors_call_after_call(story):
    tell(*story)


@pytest.mark.slow
@seeded(400)
@given(stories(ANNClassifier))
def test_many_classifiers_call_after_call(story):
    tell(*story)
