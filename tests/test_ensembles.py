"""Ensembles: members trained as one stack, and averaged on the response scale."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.engine import training

# Members share tables and a stack; in float64 only the order of sums differs.
PROMISE = 1e-8

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"  # epochs are kept few
)

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 3))
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.1 * rng.normal(size=120)
LABELS = {
    "binary": Y > 0,
    "multiclass": np.digitize(Y, [-0.5, 0.5]),
    "multilabel": np.column_stack([Y > 0, Y > 1]).astype(int),
}
QUICK = {
    "hidden_layer_sizes": 6,
    "early_stopping": False,
    "max_iter": 5,
    "batch_size": 32,
    "dtype": "float64",
    "random_state": 0,
}
# What networks that are stopped early have by default, and these do without.
PLAIN = {
    "linear_skip": False,
    "dropout": 0.0,
    "alpha": 1e-4,
    "standardize": True,
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
}


def test_predictions_are_means_of_the_members():
    ensemble = ANNRegressor(n_estimators=4, **QUICK).fit(X, Y)
    single = np.array([member.predict(X) for member in ensemble.estimators_])
    assert len(single) == 4
    assert np.ptp(single, axis=0).min() > 0  # they differ, everywhere
    np.testing.assert_allclose(ensemble.predict(X), single.mean(0), rtol=1e-14)


@pytest.mark.parametrize("kind", LABELS)
def test_probabilities_are_averaged_not_log_odds(kind):
    ensemble = ANNClassifier(n_estimators=3, **QUICK).fit(X, LABELS[kind])
    far = 50 * X  # where the mean of log odds is far from that of probabilities
    single = [member.predict_proba(far) for member in ensemble.estimators_]
    together = ensemble.predict_proba(far)
    np.testing.assert_allclose(together, np.mean(single, 0), atol=1e-13)
    logs = ensemble.predict_log_proba(far)
    np.testing.assert_allclose(np.exp(logs), together, atol=1e-13)
    assert np.isfinite(logs).all()
    assert ensemble.predict(X).shape == LABELS[kind].shape


def test_quantiles_are_averaged_and_do_not_cross():
    levels = {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]}
    ensemble = ANNRegressor(n_estimators=3, **levels, **QUICK).fit(X, Y)
    single = [member.predict(X) for member in ensemble.estimators_]
    np.testing.assert_allclose(ensemble.predict(X), np.mean(single, 0), rtol=1e-13)
    assert (np.diff(ensemble.predict(X), axis=1) > 0).all()


def test_members_are_one_stack_on_one_table(monkeypatch):
    sizes, tables = [], set()
    train = training.train

    def spy(fits, *args, **kwargs):
        sizes.append(len(fits))
        tables.update(id(fit.x) for fit in fits)
        return train(fits, *args, **kwargs)

    monkeypatch.setattr("sklearn_ann.fitting.train", spy)
    options = {**QUICK, "n_init": 2, "early_stopping": True, **PLAIN}
    ANNRegressor(n_estimators=5, **options).fit(X, Y)
    assert sizes == [10]
    assert len(tables) == 1


def test_a_member_is_what_it_is_alone():
    ensemble = ANNRegressor(n_estimators=3, **QUICK).fit(X, Y)
    for member in ensemble.estimators_:
        alone = clone(member).fit(X, Y)
        np.testing.assert_allclose(member.predict(X), alone.predict(X), PROMISE)
    first = ANNRegressor(**QUICK).fit(X, Y)
    np.testing.assert_allclose(
        ensemble.estimators_[0].predict(X), first.predict(X), PROMISE
    )


def test_members_hold_out_rows_of_their_own():
    # Without shuffles of batches and with one start, only the held-out rows differ.
    start = ANNRegressor(**QUICK).fit(X, Y)
    given = {"coefs_init": start.coefs_, "intercepts_init": start.intercepts_}
    options = {**QUICK, "batch_size": "full", "early_stopping": True, **PLAIN}
    ensemble = ANNRegressor(n_estimators=4, **options).fit(X, Y, **given)
    scores = {member.validation_scores_[0] for member in ensemble.estimators_}
    assert len(scores) == 4
    fixed = ANNRegressor(n_estimators=4, **options)
    fixed.fit(X[:90], Y[:90], X_val=X[90:], y_val=Y[90:], **given)
    np.testing.assert_allclose(
        [member.validation_scores_[0] for member in fixed.estimators_],
        fixed.estimators_[0].validation_scores_[0],
        PROMISE,
    )


def test_warm_start_goes_on_with_every_member():
    options = {**QUICK, "n_estimators": 3, "dropout": 0.2}
    twice = ANNRegressor(warm_start=True, **options).fit(X, Y).fit(X, Y)
    options["max_iter"] = 10
    once = ANNRegressor(**options).fit(X, Y)
    np.testing.assert_array_equal(twice.predict(X), once.predict(X))
    assert twice.n_iter_ == 10


def test_partial_fit_trains_every_member():
    ensemble = ANNRegressor(n_estimators=3, **QUICK)
    for _ in range(3):
        ensemble.partial_fit(X, Y)
    assert [member.n_iter_ for member in ensemble.estimators_] == [3, 3, 3]


def test_weights_belong_to_the_members():
    ensemble = ANNRegressor(n_estimators=2, **QUICK).fit(X, Y)
    for name in ("coefs_", "intercepts_", "coef_", "loss_curve_", "coefs_scale_"):
        assert not hasattr(ensemble, name), name
    assert ensemble.estimators_[1].coefs_[0].shape == (3, 6)
    assert ensemble.n_parameters_ == 2 * ensemble.estimators_[0].n_parameters_


def test_an_ensemble_is_a_scikit_learn_estimator(tmp_path):
    ensemble = ANNRegressor(n_estimators=2, **QUICK).fit(X, Y)
    again = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    np.testing.assert_array_equal(
        clone(ensemble).fit(X, Y).predict(X), ensemble.predict(X)
    )
    search = GridSearchCV(ensemble, {"n_estimators": [1, 3]}, cv=3).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_failed_refit_keeps_the_members():
    ensemble = ANNRegressor(n_estimators=2, **QUICK).fit(X, Y)
    before = ensemble.predict(X)
    with pytest.raises(ValueError, match="infinity"):
        ensemble.fit(np.full_like(X, np.inf), Y)
    np.testing.assert_array_equal(ensemble.predict(X), before)


def test_turning_back_to_one_network():
    model = ANNRegressor(n_estimators=3, **QUICK).fit(X, Y)
    model.set_params(n_estimators=1).fit(X, Y)
    assert not hasattr(model, "estimators_")
    assert len(model.coefs_) == 2
