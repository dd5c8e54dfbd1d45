"""For users who come from scikit-learn's MLPs: the same words, and the same steps.

From equal starting weights, on columns as they are, in float64 and with a full batch,
both packages walk the same path. Where a meaning differs on purpose, the difference
is pinned down here; ``docs/parity.md`` explains it.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from textbook import TEXTBOOK

from sklearn_ann import ANNClassifier, ANNRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# The same operations in the same order, on the same numbers: rounding, and what
# sixty steps make of it.
ROUNDING = 1e-11
TWINS = {MLPRegressor: ANNRegressor, MLPClassifier: ANNClassifier}
each_twin = pytest.mark.parametrize("mlp, ann", TWINS.items())

N = 150


def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    y = np.sin(X @ [1.0, -1.0, 0.5, 0.2]) + 0.1 * rng.normal(size=N)
    return X, y, rng.uniform(0.2, 3.0, N)


def targets():
    """Name -> (MLP, target, further parameters)."""
    X, y, _ = table()
    return {
        "one number": (MLPRegressor, y, {}),
        "two numbers": (MLPRegressor, np.column_stack([y, X[:, 0] ** 2]), {}),
        "counts": (MLPRegressor, np.round(np.exp(y)), {"loss": "poisson"}),
        "two classes": (MLPClassifier, np.where(y > 0, "yes", "no"), {}),
        "three classes": (MLPClassifier, np.digitize(y, [-0.3, 0.3]), {}),
        "labels": (MLPClassifier, np.column_stack([y > 0, X[:, 0] > 1]) * 1, {}),
    }


each_target = pytest.mark.parametrize("target", targets())


def start_of(mlp, X, y):
    """Weights that this MLP starts from: after a step of no length."""
    still = clone(mlp).set_params(solver="sgd", momentum=0, learning_rate_init=1e-300)
    still.set_params(max_iter=1, early_stopping=False).fit(X, y)
    return {"coefs_init": still.coefs_, "intercepts_init": still.intercepts_}


def both(target, sample_weight=None, ours=(), **options):
    """Fit MLP and its twin from the same weights; ``ours`` goes to the twin only."""
    mlp, y, further = targets()[target]
    X = table()[0]
    options = {
        "hidden_layer_sizes": (6, 5),
        "activation": "tanh",
        "batch_size": N,
        "shuffle": False,
        "max_iter": 60,
        "random_state": 0,
        **further,
        **options,
    }
    mlp = mlp(**options)
    own = {"standardize": False, "dtype": "float64", **dict(ours)}
    ann = TWINS[type(mlp)](**{**TEXTBOOK, **mlp.get_params(), **own})
    ann.fit(X, y, sample_weight, **start_of(mlp, X, y))
    return mlp.fit(X, y, sample_weight), ann


def weights_of(fitted):
    return np.concatenate([w.ravel() for w in fitted.coefs_ + fitted.intercepts_])


def assert_same_path(mlp, ann, atol=ROUNDING, n_outputs=1):
    assert ann.n_iter_ == mlp.n_iter_ and ann.t_ == mlp.t_
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), rtol=0, atol=atol)
    # MLP records the mean over outputs of the loss whose sum it descends on.
    losses = np.array(mlp.loss_curve_) * n_outputs
    np.testing.assert_allclose(ann.loss_curve_, losses, rtol=0, atol=atol)


# Parameters and attributes


@each_twin
def test_every_parameter_exists(mlp, ann):
    theirs = set(inspect.signature(mlp).parameters)
    assert theirs <= set(inspect.signature(ann).parameters)


@each_twin
def test_fits_with_the_parameters_of_an_mlp(mlp, ann):
    X, y, _ = table()
    y = y if mlp is MLPRegressor else y > 0
    model = ann(**mlp().get_params()).set_params(max_iter=300, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.8
    assert model.predict(X).shape == (N,)


OLD_ATTRIBUTES = [
    "best_loss_",
    "best_validation_score_",
    "coefs_",
    "intercepts_",
    "loss_",
    "loss_curve_",
    "n_features_in_",
    "n_iter_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "t_",
    "validation_scores_",
]


@each_target
@pytest.mark.parametrize("early_stopping", [False, True])
def test_attributes(target, early_stopping):
    mlp, ann = both(target, early_stopping=early_stopping, max_iter=5, batch_size=50)
    public = [name for name in vars(mlp) if name.endswith("_") and name[0] != "_"]
    assert set(public) <= {*OLD_ATTRIBUTES, "classes_"}
    for name in ("n_features_in_", "n_iter_", "n_layers_", "n_outputs_", "t_"):
        assert getattr(ann, name) == getattr(mlp, name), name
    assert ann.out_activation_ == mlp.out_activation_
    for name in ("coefs_", "intercepts_"):
        shapes = [[w.shape for w in getattr(fitted, name)] for fitted in (mlp, ann)]
        assert shapes[0] == shapes[1]
    if mlp.__class__ is MLPClassifier:
        np.testing.assert_array_equal(ann.classes_, mlp.classes_)
    watched = ("best_loss_", "best_validation_score_", "validation_scores_")
    for name in watched:
        assert (getattr(ann, name) is None) == (getattr(mlp, name) is None), name
    lengths = [len(fitted.loss_curve_) for fitted in (mlp, ann)]
    assert lengths[0] == lengths[1]


@each_target
def test_predictions_have_the_same_form(target):
    mlp, ann = both(target, max_iter=5, solver="sgd")
    X = table()[0]
    for name in ("predict", "predict_proba", "predict_log_proba"):
        if not hasattr(mlp, name):
            continue
        theirs, ours = getattr(mlp, name)(X), getattr(ann, name)(X)
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        else:
            np.testing.assert_array_equal(ours, theirs)


# The same path


SGD = {
    "plain": {"momentum": 0, "learning_rate_init": 0.05},
    "momentum": {"nesterovs_momentum": False, "learning_rate_init": 0.01},
    "nesterov": {"learning_rate_init": 0.01},
    "invscaling": {"learning_rate": "invscaling", "learning_rate_init": 0.2},
    "adaptive": {
        "learning_rate": "adaptive",
        "learning_rate_init": 0.05,
        "n_iter_no_change": 2,
        "tol": 1e-2,
    },
    "until converged": {"learning_rate_init": 0.02, "tol": 5e-3, "max_iter": 300},
}


@pytest.mark.parametrize("target", [t for t in targets() if t != "two numbers"])
@pytest.mark.parametrize("how", SGD)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_sgd(target, how, alpha):
    assert_same_path(*both(target, solver="sgd", alpha=alpha, **SGD[how]))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", ["one number", "three classes"])
def test_every_activation(activation, target):
    options = {"solver": "sgd", "learning_rate_init": 0.02, "max_iter": 20}
    assert_same_path(*both(target, activation=activation, **options))


@pytest.mark.parametrize("target", ["one number", "counts", "two classes"])
def test_weights_of_rows(target):
    weight = table()[2]
    mlp, ann = both(target, weight, solver="sgd", learning_rate_init=0.02, alpha=1.0)
    assert_same_path(mlp, ann)


@each_target
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_adam(target, alpha):
    """Epsilon enters differently.

    MLP divides by sqrt(v) + epsilon, the paper by sqrt(v / (1 - beta_2^t)) + epsilon,
    as we do. Multiplied out, ours is MLP's with epsilon sqrt(1 - beta_2^t), which
    vanishes with epsilon.
    """
    options = {"solver": "adam", "alpha": alpha}
    mlp, ann = both(target, **options)
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), rtol=0, atol=1e-3)
    mlp, ann = both(target, epsilon=1e-16, **options)
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), rtol=0, atol=1e-11)


def test_first_step_of_adam():
    """One step, where sqrt(1 - beta_2^t) is sqrt(.001): the exact relation."""
    options = {"solver": "adam", "max_iter": 1, "alpha": 0.0}
    mlp, ann = both(
        "one number",
        epsilon=1e-3 * np.sqrt(1e-3),
        ours={"epsilon": 1e-3},
        **options,
    )
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), rtol=1e-12)


LBFGS = {"solver": "lbfgs", "tol": 1e-10, "max_iter": 5000, "alpha": 1.0}


@pytest.mark.parametrize("target", ["one number", "two classes", "three classes"])
def test_lbfgs_finds_the_optimum_of_a_regression(target):
    mlp, ann = both(target, hidden_layer_sizes=(), **LBFGS)
    np.testing.assert_allclose(ann.loss_, mlp.loss_, rtol=1e-8)
    # MLP stops a little early; ours is exact (test_linear_models.py).
    np.testing.assert_allclose(ann.coefs_[0], mlp.coefs_[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("target", ["one number", "counts", "two classes", "labels"])
def test_lbfgs_stays_at_the_optimum_of_an_mlp(target):
    mlp, y, further = targets()[target]
    X = table()[0]
    options = {"hidden_layer_sizes": 3, "activation": "tanh", "random_state": 0}
    mlp = mlp(**options, **LBFGS, **further).fit(X, y)
    ann = TWINS[type(mlp)](**mlp.get_params(), standardize=False)
    ann.fit(X, y, coefs_init=mlp.coefs_, intercepts_init=mlp.intercepts_)
    np.testing.assert_allclose(ann.loss_curve_[0], mlp.loss_, rtol=1e-5)
    np.testing.assert_allclose(ann.loss_, mlp.loss_, rtol=1e-5)
    assert ann.loss_ <= mlp.loss_ * (1 + 1e-12)


# What differs, and by what


MINIBATCH = {"solver": "sgd", "learning_rate_init": 0.02, "max_iter": 20}


@pytest.mark.parametrize("target", ["one number", "three classes"])
@pytest.mark.parametrize("batch_size", [50, 64])
def test_minibatches_without_penalty(target, batch_size):
    assert_same_path(*both(target, batch_size=batch_size, alpha=0.0, **MINIBATCH))


@pytest.mark.parametrize("target", ["one number", "three classes"])
def test_alpha_in_minibatches(target):
    """MLP divides alpha by the rows of the batch, so it penalises n / b times more."""
    mlp, ann = both(target, batch_size=50, alpha=1.0, **MINIBATCH)
    assert np.abs(weights_of(ann) - weights_of(mlp)).max() > 1e-2
    mlp, ann = both(
        target, batch_size=50, alpha=1.0, ours={"alpha": N / 50}, **MINIBATCH
    )
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), atol=ROUNDING)


@each_twin
def test_alpha_means_the_same_for_every_batch_size(mlp, ann):
    """Small steps end at the same penalised regression, whatever the batches."""
    X, y, _ = table()
    alpha, options = 100.0, {"standardize": False, "random_state": 0}
    if ann is ANNRegressor:
        expected = Ridge(alpha=alpha).fit(X, y).coef_
    else:
        y = y > 0
        expected = LogisticRegression(C=1 / alpha, tol=1e-10).fit(X, y).coef_[0]
    for batch_size in (10, 50, N):
        steps = {"learning_rate_init": 0.1 * batch_size / N, "momentum": 0}
        model = ann((), solver="sgd", batch_size=batch_size, alpha=alpha, **steps)
        model.set_params(max_iter=300, tol=0, n_iter_no_change=np.inf, **options)
        coef = np.ravel(model.fit(X, y).coef_)
        np.testing.assert_allclose(coef, expected, atol=0.02)


@pytest.mark.parametrize("how", ["plain", "momentum", "nesterov"])
def test_several_outputs(how):
    """MLP's gradient is of the sum over outputs, its loss the mean: ours are one."""
    options = {"solver": "sgd", "alpha": 0.0, "tol": 0, **SGD[how]}
    assert_same_path(*both("two numbers", **options), n_outputs=2)


def test_weights_of_rows_in_minibatches():
    """MLP divides by the batch's weights, ours by its rows times the mean weight."""
    weight = table()[2]
    options = {"batch_size": 50, "alpha": 0.0, **MINIBATCH}
    mlp, ann = both("one number", weight, **options)
    assert np.abs(weights_of(ann) - weights_of(mlp)).max() > 1e-3
    mlp, ann = both("one number", np.full(N, 2.5), **options)
    np.testing.assert_allclose(weights_of(ann), weights_of(mlp), atol=ROUNDING)


def test_learning_rate_acts_on_adam_too():
    X, y, _ = table()
    options = {"solver": "adam", "learning_rate": "invscaling", "max_iter": 4}
    full = {"batch_size": "full", "early_stopping": False, "random_state": 0}
    ours = ANNRegressor(**options, **full).fit(X, y)
    expected = 0.001 / np.sqrt(np.array([0, 1, 2, 3]) * N + 1)
    np.testing.assert_allclose(ours.learning_rates_, expected)
    curves = [
        MLPRegressor(**{**options, "learning_rate": schedule}, random_state=0)
        .fit(X, y)
        .loss_curve_
        for schedule in ("invscaling", "constant")
    ]
    assert curves[0] == curves[1]


def test_early_stopping_watches_the_loss_unless_told_otherwise():
    X, y, _ = table()
    options = TEXTBOOK | {"early_stopping": True, "max_iter": 30, "random_state": 0}
    options["validation_fraction"] = 0.1
    model = ANNClassifier(**options).fit(X, y > 0)
    assert max(model.validation_scores_) < 0  # minus a log loss
    as_mlp = ANNClassifier(**options, scoring=None).fit(X, y > 0)
    held = np.array(as_mlp.validation_scores_) * 15  # accuracies of 15 rows
    np.testing.assert_allclose(held, np.round(held), atol=1e-12)
    assert as_mlp.best_validation_score_ == max(as_mlp.validation_scores_)


def test_lbfgs_stops_early_too():
    X, y, _ = table()
    options = {"solver": "lbfgs", "early_stopping": True, "random_state": 0}
    assert not hasattr(MLPRegressor(**options).fit(X, y), "validation_scores_")
    own = {"hidden_layer_sizes": 20, "activation": "tanh", "n_estimators": 1}
    ours = ANNRegressor(**options, **own).fit(X, y)
    assert len(ours.validation_scores_) == len(ours.loss_curve_) == ours.n_iter_
    assert ours.best_validation_score_ == max(ours.validation_scores_)


@each_twin
def test_batches_larger_than_the_data_are_all_data(mlp, ann):
    X, y, _ = table()
    y = y if ann is ANNRegressor else y > 0
    options = {"batch_size": 1000, "max_iter": 2, "random_state": 0}
    with pytest.warns(UserWarning, match="going to be clipped"):
        mlp(**options).fit(X, y)
    model = ann(**options).fit(X, y)  # no warning
    assert model.batch_size_ is None and model.dtype_ == "float64"


def test_epochs_count_over_warm_starts():
    X, y, _ = table()
    options = {"solver": "adam", "warm_start": True, "max_iter": 3, "random_state": 0}
    options["early_stopping"] = False
    mlp, ann = MLPRegressor(**options), ANNRegressor(**options)
    for fitted in (mlp, ann):
        fitted.fit(X, y).fit(X, y)
        assert len(fitted.loss_curve_) == 6 and fitted.t_ == 6 * N
    assert mlp.n_iter_ == 3 and ann.n_iter_ == 6
    once = clone(ann).set_params(warm_start=False, max_iter=6).fit(X, y)
    assert ann.loss_curve_ == once.loss_curve_


def test_a_column_of_numbers_is_a_target_without_a_warning():
    X, y, _ = table()
    options = {"max_iter": 2, "random_state": 0}
    with pytest.warns(DataConversionWarning):
        MLPRegressor(**options).fit(X, y[:, None])
    assert ANNRegressor(**options).fit(X, y[:, None]).predict(X).shape == (N,)
    for classifier in (MLPClassifier, ANNClassifier):
        with pytest.warns(DataConversionWarning):
            classifier(**options).fit(X, (y > 0)[:, None])


def test_score_is_of_the_loss():
    X, y, _ = table()
    counts = np.round(np.exp(y))
    options = {"loss": "poisson", "max_iter": 50, "random_state": 0}
    options["early_stopping"] = False
    model = ANNRegressor(**options).fit(X, counts)
    mean, fitted = counts.mean(), model.predict(X)

    def deviance(expected):
        logarithm = np.log(np.where(counts > 0, counts / expected, 1.0))
        return np.sum(counts * logarithm - counts + expected)

    d2 = 1 - deviance(fitted) / deviance(mean)
    np.testing.assert_allclose(model.score(X, counts), d2, rtol=1e-10)
    mlp = MLPRegressor(**options).fit(X, counts)
    r2 = 1 - np.mean((counts - mlp.predict(X)) ** 2) / counts.var()
    np.testing.assert_allclose(mlp.score(X, counts), r2, rtol=1e-10)


def test_divergence_warns_and_keeps_what_is_finite():
    X, y, _ = table()
    options = {"solver": "sgd", "learning_rate_init": 1e6, "random_state": 0}
    options["early_stopping"] = False
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(**options).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="non-finite"):
        model = ANNRegressor(**options).fit(X, y)
    assert np.isfinite(model.predict(X)).all() and model.status_ == "not finite"


def test_recorded_log_losses_are_not_clipped():
    """Steps of a mile one way, then labels turned round."""
    X, options = [[-1.0], [1.0]], {"hidden_layer_sizes": (), "solver": "sgd"}
    options |= {
        "learning_rate_init": 1e3,
        "warm_start": True,
        "max_iter": 1,
        "alpha": 0,
    }
    mlp, ann = MLPClassifier(**options), ANNClassifier(**options)
    for fitted in (mlp, ann):
        fitted.set_params(random_state=0).fit(X, [0, 1]).fit(X, [1, 0])
    highest = -np.log(np.finfo(float).eps)
    np.testing.assert_allclose(mlp.loss_curve_[-1], highest, rtol=1e-4)
    assert ann.loss_curve_[-1] > 10 * highest


def documented_parameters():
    """Rows of the table in docs/parity.md: name -> (default there, default here)."""
    lines = (Path(__file__).parents[1] / "docs" / "parity.md").read_text("utf-8")
    cells = [line.split("|") for line in lines.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): [c.strip(" `") for c in row[2:4]] for row in cells}


@each_twin
def test_the_table_in_the_docs_is_complete_and_true(mlp, ann):
    table = documented_parameters()
    theirs, ours = (inspect.signature(cls).parameters for cls in (mlp, ann))
    assert set(theirs) <= set(table) <= set(ours)
    for name in theirs:
        assert table[name] == [repr(theirs[name].default), repr(ours[name].default)]


def test_the_docs_name_what_is_new():
    text = (Path(__file__).parents[1] / "docs" / "parity.md").read_text("utf-8")
    new = {*inspect.signature(ANNRegressor).parameters}
    new |= {*inspect.signature(ANNClassifier).parameters}
    new -= {*inspect.signature(MLPRegressor).parameters}
    [listed] = re.findall(r"MLPs do not have: (.*?)\.\n", text, flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == new
