"""What a lesson on neural networks shows on the board, out of the estimators."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, softmax
from sklearn.datasets import load_iris, make_regression
from sklearn.utils.extmath import safe_sparse_dot

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)

# Gradient descent by hand. One row, X = 0 and y = 5, so that the intercept alone moves,
# starting from 2. The board's loss is (y - a)^2, its slope at 2 is -6, and its rates
# are 1, which overshoots to 8 and back for ever, and .1. The loss here is half of that,
# as in scikit-learn: slope -3, and rates 2 and .2 for the same steps.

BOUNCING = (2.0, [2.0, 8.0, 2.0, 8.0, 2.0])
CREEPING = (0.2, [2.0, 2.6, 3.08, 3.464, 3.7712])


def by_hand(rate, **options):
    return ANNRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=0,
        batch_size="full",
        learning_rate_init=rate,
        alpha=0,
        standardize=False,
        **options,
    )


@pytest.mark.parametrize("rate, path", [BOUNCING, CREEPING])
@pytest.mark.parametrize("start", ["intercept", "both"])
def test_gradient_descent_by_hand(rate, path, start):
    model = by_hand(rate, max_iter=1, warm_start=True)
    given = {"intercepts_init": [[path[0]]]}
    if start == "both":
        given["coefs_init"] = [[[0.0]]]
    came = [path[0]]
    for _ in path[1:]:
        came.append(model.fit([[0.0]], [5.0], **given).intercept_)
        given = {}
    np.testing.assert_allclose(came, path, rtol=1e-14)


@pytest.mark.parametrize("rate, path", [BOUNCING, CREEPING])
def test_gradient_descent_in_one_call(rate, path):
    model = by_hand(rate, max_iter=len(path) - 1)
    model.fit([[0.0]], [5.0], intercepts_init=[[2.0]])
    left = 5.0 - np.array(path)
    np.testing.assert_allclose(model.intercept_, path[-1], rtol=1e-14)
    # Losses and slopes are those of the points where the steps began.
    np.testing.assert_allclose(model.loss_curve_, left[:-1] ** 2 / 2, rtol=1e-14)
    slopes = np.abs(left[:-1, None])
    np.testing.assert_allclose(model.gradient_norms_, slopes, rtol=1e-14)
    assert model.learning_rates_ == [rate] * (len(path) - 1)


# Regressions are networks of one layer


def test_logit_is_one_neuron():
    data = sm.datasets.spector.load_pandas()
    X, y = data.exog.to_numpy(), data.endog.to_numpy()
    neuron = ANNClassifier(hidden_layer_sizes=()).fit(X, y)
    [weights], [intercept] = neuron.coefs_, neuron.intercepts_
    assert weights.shape == (3, 1) and intercept.shape == (1,)
    expected = sm.Logit(y, sm.add_constant(X)).fit(disp=0, tol=1e-14).predict()
    fired = expit(X @ weights + intercept)[:, 0]
    np.testing.assert_allclose(fired, expected, rtol=1e-8)
    np.testing.assert_allclose(neuron.predict_proba(X)[:, 1], fired, rtol=1e-14)


def test_softmax_is_a_multinomial_logit():
    X, y = load_iris(return_X_y=True)
    layer = ANNClassifier(hidden_layer_sizes=(), alpha=1.0).fit(X, y)
    scores = safe_sparse_dot(X, layer.coefs_[0]) + layer.intercepts_[0]
    np.testing.assert_allclose(layer.decision_function(X), scores, rtol=1e-12)
    probability = softmax(scores, axis=1)
    np.testing.assert_allclose(layer.predict_proba(X), probability, rtol=1e-12)


@pytest.mark.parametrize("standardize", [True, False])
def test_two_neurons_hidden_and_two_to_put_out(standardize):
    """Regressions stacked together, in the units of X and y."""
    X, Y = make_regression(200, n_features=3, n_targets=2, random_state=0)
    X = X * [1.0, 100.0, 0.01] + [0.0, 5.0, 1.0]
    model = ANNRegressor(
        2,
        "tanh",
        standardize=standardize,
        max_iter=3,
        early_stopping=False,
        random_state=0,
    ).fit(X, Y)
    assert [w.shape for w in model.coefs_] == [(3, 2), (2, 2)]
    assert [b.shape for b in model.intercepts_] == [(2,), (2,)]
    hidden = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    expected = hidden @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-10)
    assert not hasattr(model, "coef_") and not hasattr(model, "intercept_")


# Layers of identity collapse to a regression: a product of matrices is a matrix


def rows(n=500):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 3.0, 0.0, 5.0]
    Y = X @ rng.normal(size=(4, 3)) + rng.normal(size=(n, 3))
    return X, Y


TARGETS = {
    "one number": (ANNRegressor, lambda Y: Y[:, 0]),
    "three numbers": (ANNRegressor, lambda Y: Y),
    "two classes": (ANNClassifier, lambda Y: Y[:, 0] > np.median(Y[:, 0])),
    "three classes": (ANNClassifier, lambda Y: Y.argmax(axis=1)),
    "three labels": (ANNClassifier, lambda Y: (np.median(Y, axis=0) < Y).astype(int)),
}
TRAINING = {
    "default": ({}, "float32"),
    "full batch": ({"batch_size": "full"}, "float64"),
    "sgd": ({"solver": "sgd", "learning_rate_init": 0.01}, "float32"),
    "lbfgs": ({"solver": "lbfgs"}, "float64"),
    "linear skip": ({"linear_skip": True}, "float32"),
    "raw": ({"standardize": False}, "float32"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("training", TRAINING)
def test_linear_layers_collapse(target, training):
    estimator, of = TARGETS[target]
    options, dtype = TRAINING[training]
    X, Y = rows()
    options = {"max_iter": 5, "early_stopping": False, "random_state": 0, **options}
    model = estimator((7, 5), "identity", **options)
    model.fit(X, of(Y))
    assert model.dtype_ == dtype
    far = 10.0 * rows(50)[0]
    outputs = getattr(model, "decision_function", model.predict)(far)
    collapsed = far @ np.atleast_2d(model.coef_).T + model.intercept_
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(
        collapsed.reshape(outputs.shape), outputs, rtol=0, atol=1e-10 * scale
    )


@pytest.mark.parametrize("hidden", [(3,), (6, 4)])
def test_linear_layers_trained_to_the_end_are_ols(hidden):
    """Not exactly, as without hidden layer, but to a hundredth of a standard error."""
    X, Y = rows()
    model = ANNRegressor(hidden, "identity", solver="lbfgs", alpha=0, random_state=0)
    model.set_params(tol=1e-10, max_iter=1000).fit(X, Y)
    residuals = Y - model.predict(X)
    for j in range(3):
        ols = sm.OLS(Y[:, j], sm.add_constant(X)).fit()
        ours = np.append(model.intercept_[j], model.coef_[j])
        np.testing.assert_array_less(np.abs(ours - ols.params), 0.01 * ols.bse)
        np.testing.assert_allclose(np.sum(residuals[:, j] ** 2), ols.ssr, rtol=1e-6)


def test_a_narrow_linear_layer_is_a_regression_of_less_rank():
    X, Y = rows()
    model = ANNRegressor(1, "identity", solver="lbfgs", random_state=0).fit(X, Y)
    assert model.coef_.shape == (3, 4)
    assert np.linalg.matrix_rank(model.coef_, tol=1e-10) == 1
