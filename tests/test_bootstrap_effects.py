"""Standard errors from refits: the bootstrap, and the spread over seeds."""

import warnings

import numpy as np
import pytest
from econ_data import mroz, two_units, wage1, wages_with_levels
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor, average_marginal_effects
from sklearn_ann.resampling import bootstrap_sample

CURVED = {"activation": "tanh", "solver": "lbfgs", "alpha": 1.0, "max_iter": 60}


def curved(seed=0, n=150, **options):
    """A small network, and its rows."""
    X, y = two_units(seed, n)
    options = {**CURVED, "tol": 1e-2, "random_state": 0, **options}
    return ANNRegressor(2, **options).fit(X, y), X, y


def effects(fitted, X, y, **options):
    options = {"vcov": "bootstrap", "n_replicates": 20, "random_state": 0} | options
    return average_marginal_effects(fitted, X, y, **options)


# ------------------------------------------------------------------ what replicates are


def by_hand(fitted, X, y, n_replicates, *, bayesian=False, groups=None, drawn=False):
    """Single fits, one by one, with the weights and seeds of the replicates."""
    sample = bootstrap_sample(len(X), n_replicates, 0, bayesian=bayesian, groups=groups)
    found = []
    for weight, seed in zip(sample.weights, sample.seeds, strict=True):
        own = clone(fitted).set_params(random_state=int(seed))
        own.fit(X, y, sample_weight=weight)
        over = {"sample_weight": weight} if drawn else {}
        found.append(average_marginal_effects(own, X, **over).estimate)
    return np.array(found)


def test_two_hundred_replicates_are_a_loop_of_single_fits():
    fitted, X, y = curved(n=100, dtype="float64")
    found = effects(fitted, X, y, n_replicates=200)
    loop = by_hand(fitted, X, y, 200)
    assert_allclose(found.draws, loop, rtol=1e-6, atol=1e-9)
    assert_allclose(found.std_error, loop.std(axis=0, ddof=1), rtol=1e-6)
    assert_allclose(found.vcov, np.cov(loop.T), rtol=1e-6, atol=1e-12)
    plain = average_marginal_effects(fitted, X)
    assert_allclose(found.estimate, plain.estimate)


@pytest.mark.parametrize("vcov", ["bootstrap", "bayesian"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("unconditional", [False, True])
def test_all_kinds_of_draws(vcov, grouped, unconditional):
    fitted, X, y = curved(dtype="float64")
    groups = np.arange(len(X)) // 3 if grouped else None
    found = effects(
        fitted, X, y, vcov=vcov, groups=groups, unconditional=unconditional,
        n_replicates=5,
    )  # fmt: skip
    loop = by_hand(
        fitted, X, y, 5, bayesian=vcov == "bayesian", groups=groups,
        drawn=unconditional,
    )  # fmt: skip
    assert_allclose(found.draws, loop, rtol=1e-6)
    assert found.basis.conditional != unconditional
    unit = "50 groups" if grouped else "rows"
    how = "weighed at random" if vcov == "bayesian" else "drawn with replacement"
    assert f"5 replicates: {unit} {how}" in str(found)


def test_within_a_tenth_of_the_sandwich_for_logit():
    X, y = mroz()
    fitted = ANNClassifier(()).fit(X, y)
    sandwich = average_marginal_effects(fitted, X, y, vcov="HC1").std_error
    # So many that their own noise, 1 / sqrt(2 R), is three percent.
    found = effects(fitted, X, y, n_replicates=600)
    assert_allclose(found.std_error, sandwich, rtol=0.1)


def test_linear_models_of_scikit_learn_are_refitted_one_by_one():
    X, y = wage1()
    found = effects(LinearRegression().fit(X, y), X, y)
    ours = effects(ANNRegressor(()).fit(X, y), X, y)
    assert_allclose(found.draws, ours.draws, rtol=1e-8)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=len(X))
    weighted = LinearRegression().fit(X, y, weight)
    found = effects(weighted, X, y, sample_weight=weight, vcov="bayesian")
    ours = ANNRegressor(()).fit(X, y, weight)
    ours = effects(ours, X, y, sample_weight=weight, vcov="bayesian")
    assert_allclose(found.draws, ours.draws, rtol=1e-8)


def test_own_weights_multiply_the_draws():
    X, y = wage1()
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=len(X))
    weight[:20] = 0.0
    line = LinearRegression().fit(X, y, weight)
    found = effects(line, X, y, sample_weight=weight, n_replicates=4)
    sample = bootstrap_sample(len(X), 4, 0, weight=weight)
    loop = [LinearRegression().fit(X, y, w).coef_ for w in sample.weights]
    assert_allclose(found.draws, loop, rtol=1e-8)


def wage_pipeline(last):
    columns = make_column_transformer(
        (StandardScaler(), ["educ", "exper"]),
        (OneHotEncoder(drop="first"), ["region", "place", "female"]),
    )
    return make_pipeline(columns, last)


def test_pipelines_are_refitted_with_their_transformers():
    X, y = wages_with_levels()
    ours = effects(wage_pipeline(ANNRegressor(())).fit(X, y), X, y, n_replicates=5)
    theirs = effects(wage_pipeline(LinearRegression()).fit(X, y), X, y, n_replicates=5)
    assert_allclose(ours.draws, theirs.draws, rtol=1e-6)
    assert (ours.std_error > 0).all() and len(ours.estimate) == 7


def test_transformed_targets_searches_and_ensembles():
    X, y = wages_with_levels()
    line = wage_pipeline(ANNRegressor(()))
    logs = TransformedTargetRegressor(line, func=np.log, inverse_func=np.exp)
    theirs = clone(logs).set_params(regressor=wage_pipeline(LinearRegression()))
    draws = [
        effects(each.fit(X, np.exp(y)), X, np.exp(y), n_replicates=3).draws
        for each in (logs, theirs)
    ]
    assert_allclose(draws[0], draws[1], rtol=1e-6)
    X, y = two_units(0, 100)
    search = GridSearchCV(ANNRegressor(()), {"alpha": [0.1, 1.0]}).fit(X, y)
    best = effects(search.best_estimator_, X, y, n_replicates=3)
    assert_allclose(effects(search, X, y, n_replicates=3).draws, best.draws)
    fitted, X, y = curved(n_estimators=2)
    assert np.isfinite(effects(fitted, X, y, n_replicates=3).std_error).all()


def test_what_is_no_network_is_refitted_too():
    X, y = two_units(0, 100)
    forest = RandomForestRegressor(5, random_state=0).fit(X, y)
    found = effects(forest, X, y, n_replicates=5)
    assert set(found.labels["contrast"]) == {"+1 sd"} and (found.std_error > 0).all()


def test_the_same_seed_gives_the_same():
    fitted, X, y = curved()
    one, two, other = (effects(fitted, X, y, random_state=s) for s in (1, 1, 2))
    assert (one.draws == two.draws).all() and (one.draws != other.draws).any()


def test_new_rows_and_links_and_relative_changes():
    fitted, X, y = curved()
    found = effects(fitted, X, y, newdata=X[:10], kind="eyex", n_replicates=5)
    assert found.draws.shape == (5, 2) and (found.std_error > 0).all()
    X, y = mroz()
    logit = ANNClassifier(()).fit(X, y)
    found = effects(logit, X, y, target="link", n_replicates=5)
    assert_allclose(found.estimate, logit.coef_.ravel(), rtol=1e-6)


def test_draws_go_with_differences_and_joint_tests():
    fitted, X, y = curved()
    found = effects(fitted, X, y, by=np.arange(len(X)) % 2)
    gaps = found.group_differences()
    assert_allclose(gaps.std_error, gaps.draws.std(axis=0, ddof=1), rtol=1e-8)
    assert found.wald_test("x0@0 = x0@1").df == 1


# ----------------------------------------------------------------------------- failures


def test_failed_replicates_are_counted():
    X, y = wages_with_levels()
    rare = X.copy()
    rare["place"] = rare["place"].astype(object)
    rare.loc[0, "place"] = "sea"  # in 63% of the replicates
    pipeline = wage_pipeline(LinearRegression()).fit(rare, y)
    found = effects(pipeline, rare, y, features="educ", n_replicates=40)
    failed = 40 - len(found.draws)
    assert 5 <= failed <= 20
    assert f"{failed} of 40 replicates failed and are left out" in str(found)
    assert "unknown categories" in str(found) and np.isfinite(found.std_error).all()
    for i in (1, 2, 3, 4):  # now some are missing nearly always
        rare.loc[i, "place"] = f"island {i}"
    pipeline.fit(rare, y)
    with pytest.raises(ValueError, match="replicates failed; the first because"):
        effects(pipeline, rare, y, features="educ", n_replicates=40)


def test_what_did_not_converge_is_counted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted, X, y = curved(max_iter=2, tol=1e-9)
        logs = TransformedTargetRegressor(fitted).fit(X, y)
    assert "20 of 20 replicates did not end well" in str(effects(fitted, X, y))
    assert "20 of 20 replicates warned" in str(effects(logs, X, y))


def test_refusals():
    fitted, X, y = curved()
    with pytest.raises(ValueError, match="y was not given: replicates are fitted"):
        effects(fitted, X, None)
    with pytest.raises(ValueError, match="one replicate does not vary"):
        effects(fitted, X, y, n_replicates=1)
    with pytest.raises(ValueError, match="one group only"):
        effects(fitted, X, y, groups=np.zeros(len(X)))
    neighbours = KNeighborsRegressor().fit(X, y)
    with pytest.raises(ValueError, match="KNeighborsRegressor takes no sample_weight"):
        effects(neighbours, X, y, vcov="bayesian")
    assert np.isfinite(effects(neighbours, X, y, n_replicates=5).std_error).all()
    with pytest.raises(ValueError, match="rows of newdata are taken as given"):
        effects(fitted, X, y, newdata=X, unconditional=True)


def test_few_clusters_are_a_warning():
    fitted, X, y = curved()
    with pytest.warns(UserWarning, match="10 clusters are few"):
        found = effects(fitted, X, y, groups=np.arange(len(X)) % 10)
    assert "10 clusters are few" in str(found)


def test_a_class_that_is_rarely_drawn():
    X, y = two_units(0, 60)
    labels = np.where(np.arange(60) == 0, 2, y > 0).astype(int)
    logit = LogisticRegression().fit(X, labels)
    found = effects(logit, X, labels, n_replicates=40)
    assert len(found.draws) < 40 and "a class was not drawn" in str(found)


# -------------------------------------------------------------------------------- seeds


def test_means_over_seeds():
    fitted, X, y = curved(max_iter=30)
    plain = {"vcov": "HC0", "n_seeds": 3, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = ANNRegressor(2, **CURVED | {"max_iter": 2000}, tol=1e-7).fit(X, y)
    found = average_marginal_effects(exact, X, y, **plain)
    again = average_marginal_effects(exact, X, y, **plain)
    assert (found.estimate == again.estimate).all()
    assert "seed_sd" in found.to_frame() and "Means over 3 refits" in str(found)
    gap = found.beside["seed_sd"]
    wider = average_marginal_effects(exact, X, y, **plain, add_seed_variance=True)
    assert_allclose(wider.std_error**2, found.std_error**2 + gap**2 / 3)
    assert "is added to the variances" in wider.basis.notes[0]
    drawn = effects(fitted, X, y, n_seeds=3, n_replicates=5, add_seed_variance=True)
    assert (drawn.beside["seed_sd"] > 0).all()
    assert_allclose(drawn.std_error, drawn.draws.std(axis=0, ddof=1))


def test_a_regression_does_not_vary_with_its_seed():
    X, y = wage1()
    line = LinearRegression().fit(X, y)
    found = average_marginal_effects(line, X, y, n_seeds=3)
    one = average_marginal_effects(line, X, y)
    assert_allclose(found.beside["seed_sd"], 0.0, atol=1e-15)
    assert_allclose(found.estimate, one.estimate)
    assert_allclose(found.std_error, one.std_error)
    plain = average_marginal_effects(line, X, y, n_seeds=2, vcov="classical")
    one = average_marginal_effects(line, X, y, vcov="classical")
    assert_allclose(plain.std_error, one.std_error)


def test_seeds_need_targets():
    X, y = wage1()
    line = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="refits with other seeds need the targets"):
        average_marginal_effects(line, X, vcov="HC1", n_seeds=2)
    found = average_marginal_effects(line, X, n_seeds=2)
    assert found.basis.method == "none" and "need the targets" in found.basis.why
