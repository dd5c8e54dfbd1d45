"""Scouts: networks that show whether columns had better enter all at one pace."""

import warnings

import numpy as np
import pytest
from quiet_callback import Quiet
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from sklearn_ann import ANNClassifier, ANNRegressor, bootstrap_fits, fitting, jobs
from sklearn_ann.held_out import mean_gain
from sklearn_ann.scouts import ERRORS, SCOUTED

N = 1200


def of_three(n=N, seed=0):
    """A product of three columns, which no two of them show, beside a fourth."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    y = np.sign(X[:, 0] * X[:, 1] * X[:, 2]) + X[:, 3] + 0.2 * rng.normal(size=n)
    return X, y


def of_two(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    return X, X[:, 0] * X[:, 1] + X[:, 3] + 0.2 * rng.normal(size=n)


def small(n_estimators=3, **options):
    return ANNRegressor((32,), n_estimators=n_estimators, random_state=0, **options)


def trained(model, X, y, change=lambda outcomes: None):
    """Requests and outcomes of all networks with hidden layers that a fit trains."""
    seen = []

    def door(requests):
        outcomes = fitting.train_requests(requests)
        change(outcomes)
        seen.extend(zip(requests, outcomes, strict=True))
        return outcomes

    with warnings.catch_warnings(), fitting.through(door):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return [(r, o) for r, o in seen if r.architecture.hidden]


def is_even(request):
    pace = request.fit.pace
    return None if pace is None else bool(pace.min() == 1.0)


@pytest.mark.parametrize("Estimator", [ANNRegressor, ANNClassifier])
@pytest.mark.parametrize("n_estimators", [1, 3])
def test_what_only_three_columns_show_is_found(Estimator, n_estimators, monkeypatch):
    X, y = of_three()
    if Estimator is ANNClassifier:
        y = X[:, 3] / 2 + np.sign(X[:, :3].prod(axis=1)) > 0
    model = Estimator((32,), n_estimators=n_estimators, random_state=0)
    new_X, new_y = of_three(2000, seed=1)
    if Estimator is ANNClassifier:
        new_y = new_X[:, 3] / 2 + np.sign(new_X[:, :3].prod(axis=1)) > 0
    found = model.fit(X, y).score(new_X, new_y)
    np.testing.assert_array_equal(model.column_paces_, 1.0)
    monkeypatch.setattr("sklearn_ann.scouts.SCOUTED", 0)
    alone = model.fit(X, y)
    assert alone.column_paces_[:3].max() < 0.5
    assert found > alone.score(new_X, new_y) + 0.1


def test_then_all_networks_are_what_they_are_without_paces(monkeypatch):
    X, y = of_three()
    model = small(dtype="float64", max_iter=30)
    pairs = trained(model, X, y)
    assert [is_even(r) for r, _ in pairs] == 3 * [False] + 3 * [True]
    monkeypatch.setattr(jobs, "have_paces", lambda *_: False)
    even = small(dtype="float64", max_iter=30)
    assert len(trained(even, X, y)) == 3
    assert even.column_paces_ is None
    np.testing.assert_allclose(model.predict(X), even.predict(X), 1e-8, 1e-8)
    assert model.stays_linear_ is even.stays_linear_ is False


def test_where_pairs_show_it_columns_keep_their_paces(monkeypatch):
    X, y = of_two()
    model = small(dtype="float64", max_iter=30)
    pairs = trained(model, X, y)
    assert len(pairs) == 3 + SCOUTED
    assert model.column_paces_[[0, 1, 3]].min() > 0.5 > model.column_paces_.min()
    monkeypatch.setattr("sklearn_ann.scouts.SCOUTED", 0)
    alone = small(dtype="float64", max_iter=30)
    assert len(trained(alone, X, y)) == 3
    np.testing.assert_allclose(model.predict(X), alone.predict(X), 1e-8, 1e-8)


def test_a_gain_is_a_difference_of_row_losses_over_its_error():
    """Of one network: a mean and its standard error; of groups: of their sums."""
    X, y = of_two(300)
    asked = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "sklearn_ann.estimators.settled",
            lambda jobs, outcomes: asked.append((jobs, outcomes)) or (jobs, outcomes),
        )
        groups = np.arange(300) // 3
        model = ANNRegressor((4,), n_estimators=1, max_iter=3, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y, groups=groups)
    ((job,), (outcome, _)) = asked[0]
    rows = job.held_out.index
    scale = job.model.targets.scale
    before, after = (
        job.model.fitted(row).raw(X[rows])[:, 0]
        for row in (job.fits[0].start, outcome.row)
    )
    loss = [0.5 * ((y[rows] - p) / scale) ** 2 for p in (before, after)]
    gains = loss[0] - loss[1]
    gain, error = mean_gain([job], [job.fits[0].start], [outcome.row])
    assert gain == pytest.approx(gains.mean())
    centred = np.bincount(groups[rows], gains - gains.mean())
    assert error == pytest.approx(np.sqrt((centred**2).sum()) / len(rows))


@pytest.mark.parametrize(("errors", "switches"), [(0.99, False), (1.01, True)])
def test_scouts_must_do_better_by_two_errors(errors, switches, monkeypatch):
    monkeypatch.setattr(
        "sklearn_ann.scouts.mean_gain", lambda *_: (errors * ERRORS, 1.0)
    )
    X, y = of_two()
    assert len(trained(small(max_iter=2), X, y)) == (6 if switches else 5)


@pytest.mark.parametrize("gain", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_gain(gain, monkeypatch):
    monkeypatch.setattr("sklearn_ann.scouts.mean_gain", lambda *_: (gain, np.nan))
    assert len(trained(small(max_iter=2), *of_two())) == 5


@pytest.mark.parametrize(("data", "n_trained"), [(of_two, 5), (of_three, 6)])
def test_time_counts_all_that_was_trained(data, n_trained):
    def clocked(outcomes):
        for outcome in outcomes:
            outcome.seconds = 1.0

    model = small(max_iter=30)
    assert len(trained(model, *data(), clocked)) == n_trained
    assert model.fit_seconds_ == n_trained
    assert [m.fit_seconds_ for m in model.estimators_][:2] == [2.0, 2.0]


def test_restarts_have_scouts_each_and_the_best_counts():
    X, y = of_three()
    model = small(1, n_init=2, max_iter=40)
    pairs = trained(model, X, y)
    assert [is_even(r) for r, _ in pairs] == [False, False, True, True]
    assert pairs[0][0].fit.seed == pairs[2][0].fit.seed != pairs[3][0].fit.seed
    assert model.loss_ == min(o.record.losses[-1] for _, o in pairs[2:])
    np.testing.assert_array_equal(model.column_paces_, 1.0)


def test_members_without_paces_stay_what_they_are(monkeypatch):
    """They are trained once, whatever scouts of the others say."""
    learn, count = jobs._paces, []

    def second_has_none(*asked):
        count.append(1)
        return None if len(count) == 2 else learn(*asked)

    monkeypatch.setattr(jobs, "_paces", second_has_none)
    model = small(4, max_iter=30)
    pairs = trained(model, *of_three())
    even = [is_even(r) for r, _ in pairs]
    assert even == [False, None, False, False, True, True, True]
    assert [m.column_paces_ is None for m in model.estimators_] == [0, 1, 0, 0]
    np.testing.assert_array_equal(model.column_paces_, 1.0)
    seeds = [r.fit.seed for r, _ in pairs]
    assert [seeds[0], seeds[2], seeds[3]] == seeds[4:]


def test_a_callback_that_stops_a_network_stops_its_scout():
    class Stopper(Quiet):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id >= 3

    heard = small().set_callbacks(Stopper())
    counts = {outcome.n_iter for _, outcome in trained(heard, *of_three())}
    assert counts == {4}


def test_replicates_have_scouts_of_their_own():
    X, y = of_three()
    model = small(1, max_iter=80)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = bootstrap_fits(model, X, y, n_replicates=3, random_state=0)
    for i in range(3):
        replicate = fits[i]
        np.testing.assert_array_equal(replicate.column_paces_, 1.0)
        assert r2_score(y, replicate.predict(X)) > 0.7
