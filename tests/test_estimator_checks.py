"""Every check of scikit-learn's for our tags, at the default constructors.

No check is expected to fail and none may skip. The names of the checks are stored in
``snapshots/estimator_checks.json``, so that one that a changed tag makes vanish is
missed. Run this file as a script to write the snapshot anew.

``conftest.py`` sets SCIPY_ARRAY_API, without which the array API checks would skip.
"""

import json
import os
import unittest
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.utils import estimator_checks as checks
from sklearn.utils import get_tags

from sklearn_ann import ANNClassifier, ANNRegressor

SNAPSHOT = Path(__file__).parent / "snapshots" / "estimator_checks.json"
ESTIMATORS = [ANNRegressor(), ANNClassifier()]
# Those of scikit-learn 1.9, less the one that NaN be refused: test_bad_input.py has the
# rest of what it checks.
N_CHECKS = {"ANNRegressor": 60, "ANNClassifier": 67}
# Many checks lower max_iter on purpose.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
needs_array_api = pytest.mark.skipif(
    os.environ.get("SCIPY_ARRAY_API", "0") in ("0", "False"),
    reason="SCIPY_ARRAY_API=0 switches array API support off",
)


def name_of(estimator):
    return type(estimator).__name__


each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)


def check_names(estimator):
    """Names of the checks that are yielded, with what they are called with."""
    names = []
    for _, check in checks.estimator_checks_generator(estimator):
        options = ", ".join(f"{k}={v!r}" for k, v in sorted(check.keywords.items()))
        names.append(f"{check.func.__name__}({options})")
    return names


def must_run(check, *args, **kwargs):
    """Run a check; to skip is to fail, unless an array library is not installed."""
    try:
        check(*args, **kwargs)
    except unittest.SkipTest as skipped:
        if "not installed" in str(skipped):
            raise
        pytest.fail(f"The check was skipped: {skipped}")


@checks.parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    must_run(check, estimator)


@checks.parametrize_with_checks([type(e)(standardize="robust") for e in ESTIMATORS])
def test_check_with_robust_scales(estimator, check):
    must_run(check, estimator)


@each_estimator
def test_no_check_vanishes(estimator):
    stored = json.loads(SNAPSHOT.read_text(encoding="utf-8"))[name_of(estimator)]
    assert len(stored) == len(set(stored)) == N_CHECKS[name_of(estimator)]
    missing = sorted(set(stored) - set(check_names(estimator)))
    assert not missing, f"no longer yielded: {missing}"


@each_estimator
def test_tags_silence_nothing(estimator):
    tags = get_tags(estimator)
    assert not tags.no_validation
    assert not tags.non_deterministic
    for kind in (tags.classifier_tags, tags.regressor_tags):
        assert kind is None or not kind.poor_score
    assert not tags._skip_test


def test_tags_say_what_the_estimators_can_do():
    regressor, classifier = map(get_tags, ESTIMATORS)
    for tags in (regressor, classifier):
        assert tags.input_tags.sparse
        assert tags.input_tags.allow_nan
        assert tags.target_tags.required
    assert regressor.target_tags.multi_output
    assert classifier.classifier_tags.multi_class
    assert classifier.classifier_tags.multi_label


# Checks that scikit-learn keeps for itself, or yields only with array_api_support.


@each_estimator
@pytest.mark.parametrize(
    "check",
    [
        checks.check_param_validation,
        checks.check_dataframe_column_names_consistency,
        checks.check_inplace_ensure_writeable,
    ],
)
def test_check_never_yielded(estimator, check):
    must_run(check, name_of(estimator), estimator)


def test_check_class_weight_balanced_classifiers():
    # One class in ten is rare where it is learned; both are as frequent in the test.
    X, y = make_classification(1000, weights=[0.9], class_sep=0.5, random_state=0)
    train, rest = np.arange(500), np.arange(500, 1000)
    rare = rest[y[rest] == 1]
    test = np.concatenate([rare, rest[y[rest] == 0][: len(rare)]])
    must_run(
        checks.check_class_weight_balanced_classifiers,
        "ANNClassifier",
        ANNClassifier(),
        X[train],
        y[train],
        X[test],
        y[test],
        weights=None,
    )


@needs_array_api
@each_estimator
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_check_array_api_input_and_values(estimator, dtype, weighted):
    must_run(
        checks.check_array_api_input_and_values,
        name_of(estimator),
        estimator,
        "torch",
        "cpu",
        dtype,
        check_sample_weight=weighted,
    )


# PyTorch tensors


def tensors(dtype=torch.float64):
    X, y = make_classification(60, n_features=5, random_state=0)
    weight = np.linspace(0.5, 2.0, 60)
    return [torch.tensor(a, dtype=dtype) for a in (X, weight)] + [torch.tensor(y)]


@each_estimator
def test_tensors_are_taken_as_arrays(estimator):
    X, weight, y = tensors()
    estimator = clone(estimator).set_params(max_iter=3, random_state=0)
    fitted = clone(estimator).fit(X.numpy(), y.numpy(), weight.numpy())
    expected = fitted.predict(X.numpy())
    X.requires_grad_()
    answer = clone(estimator).fit(X, y, weight).predict(X)
    assert isinstance(answer, np.ndarray)
    np.testing.assert_array_equal(answer, expected)
    options = {"X_val": X[:20], "y_val": y[:20], "sample_weight_val": weight[:20]}
    clone(estimator).fit(X, y, weight, **options).score(X, y, weight)


@needs_array_api
@each_estimator
def test_tensors_come_back_where_dispatch_is_on(estimator):
    X, weight, y = tensors(torch.float32)
    fitted = clone(estimator).set_params(max_iter=3, random_state=0).fit(X, y, weight)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        method = getattr(fitted, name, None)
        if method is None:
            continue
        with config_context(array_api_dispatch=True):
            answer = method(X)
        assert isinstance(answer, torch.Tensor)
        np.testing.assert_array_equal(answer.numpy(), method(X.numpy()))


@needs_array_api
def test_labels_that_are_no_numbers_come_back_in_an_array():
    X, _, y = tensors()
    labels = np.array(["no", "yes"])[y.numpy()]
    fitted = ANNClassifier(max_iter=3, random_state=0).fit(X, labels)
    with config_context(array_api_dispatch=True):
        assert set(fitted.predict(X)) <= {"no", "yes"}
        assert isinstance(fitted.predict_proba(X), torch.Tensor)


if __name__ == "__main__":
    names = {name_of(estimator): check_names(estimator) for estimator in ESTIMATORS}
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
