"""Defaults on data whose truth is known: some cells of the benchmarks of these."""

import numpy as np
import pytest
from benchmarks import bench_changed_tables as changed
from benchmarks import bench_curved_truth as curved
from benchmarks import bench_linear_truth as linear
from benchmarks.accuracy.protocol import split
from benchmarks.accuracy.sets import Data
from joblib import Parallel, delayed
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from sklearn_ann import ANNRegressor, batched_fits

# Share of the way from the linear model to the truth, at 1000 rows of which noise is a
# tenth of the variance.
LEAST_SHARE = 0.8


@pytest.mark.slow
@pytest.mark.parametrize("explained", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("n", "d"), [(100, 2), (300, 10)])
def test_what_is_linear_costs_no_more_than_the_linear_model(n, d, explained, tmp_path):
    store = tmp_path / "scores.jsonl"
    cell = linear.Cell(n, d, explained)
    network, ols, mean = linear.scores_of(cell, 50, store).mean(axis=0)
    assert network >= max(ols, mean) - linear.ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("name", curved.TRUTHS)
def test_what_is_curved_is_found_as_far_as_noise_allows(name):
    linear_score, network, most = curved.mean_scores(curved.Cell(name, 1000, 0.9), 3)
    assert network - linear_score >= LEAST_SHARE * (most - linear_score)


@pytest.mark.slow
@pytest.mark.parametrize("name", changed.CHANGES)
def test_what_other_units_and_noise_cost(name):
    """Means of twenty splits; the noise costs .017 with a standard error of .004."""
    change, most = changed.CHANGES[name]
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    table = Data(X, y.to_numpy())
    parts = [split(table, "regression", seed) for seed in range(20)]
    changed_parts = [change(part, seed) for seed, part in enumerate(parts)]
    with batched_fits():
        before, after = (
            Parallel()(delayed(changed.reached)(each, i) for i, each in enumerate(some))
            for some in (parts, changed_parts)
        )
    assert np.mean(before) - np.mean(after) <= most


# ------------------------------------------------------------ the benchmarks themselves


def test_stacked_draws_are_those_one_by_one(tmp_path):
    cell = linear.Cell(100, 2, 0.5)
    stacked = linear.scores_of(cell, 3, tmp_path / "scores.jsonl")
    np.testing.assert_allclose(stacked[1], cell.scores(1), atol=2e-3)


def test_known_draws_are_not_fitted_again(tmp_path, monkeypatch):
    cell, store = linear.Cell(100, 2, 0.5), tmp_path / "scores.jsonl"
    found = linear.scores_of(cell, 2, store)
    monkeypatch.setattr(ANNRegressor, "fit", None)
    np.testing.assert_array_equal(linear.scores_of(cell, 2, store), found)
    monkeypatch.setattr(linear, "version_of", lambda package: "another")
    with pytest.raises(TypeError):
        linear.scores_of(cell, 2, store)


def test_every_number_of_rows_has_its_cells():
    chosen = linear.cells(linear.ROWS)
    assert len(chosen) == len(set(chosen)) == 4 * 3 * 4 + 3 * 2
    assert {cell.n for cell in chosen} == {100, 300, 1000, 3000, 10_000}


@pytest.mark.parametrize("name", curved.TRUTHS)
def test_the_truth_scores_what_the_noise_leaves(name):
    X, truth = curved.TRUTHS[name](20_000, 0)
    classes = name == "checkerboard"
    spoil = curved.mislabelled if classes else curved.noisy
    y = spoil(truth, 0.8, 0)
    assert len(X) == len(y)
    expected = 0.9 if classes else 0.8  # a tenth of the labels is turned round
    assert curved.ceiling(y, truth, classes) == pytest.approx(expected, abs=0.01)


def test_changes_leave_rows_and_other_columns():
    table = load_diabetes(return_X_y=True, as_frame=True)
    X = table[0].assign(kind=np.arange(len(table[0])) % 2)
    X["kind"] = X["kind"].astype("category")
    part = split(Data(X, np.asarray(table[1])), "regression", 0)
    wider = changed.noisy(part, 0)
    assert wider.X_train.shape == (len(part.X_train), 11 + changed.NOISE_COLUMNS)
    assert wider.X_test[list(X)].equals(part.X_test)
    scaled = changed.times(part, columns=1e3, targets=1e6)
    np.testing.assert_allclose(scaled.X_test["bmi"], part.X_test["bmi"] * 1e3)
    assert scaled.X_test["kind"].equals(part.X_test["kind"])
    np.testing.assert_allclose(scaled.y_train, part.y_train * 1e6)


def test_what_noise_costs_a_peer_is_the_difference_of_its_scores(tmp_path):
    linear_model = next(peer for peer in changed.PEERS if peer.name == "linear")
    (found,) = changed.cost_of_noise(linear_model, "diabetes", tmp_path, 1)
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    plain = split(Data(X, y.to_numpy()), "regression", 0)
    scores = [
        LinearRegression().fit(p.X_train, p.y_train).score(p.X_test, p.y_test)
        for p in (plain, changed.noisy(plain, 0))
    ]
    assert found == pytest.approx(scores[0] - scores[1])
    assert found > 0.0
