"""Debiased effects: representers, cross-fitting, and the rule that never raises."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from econ_data import anes96, mroz, two_units, wage1, wages_with_levels
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
    riesz,
)
from sklearn_ann.columns import Table
from sklearn_ann.copies import Kept, learns_from_targets, unfitted
from sklearn_ann.evaluation import Averaging, averages
from sklearn_ann.fit_rows import FitRows
from sklearn_ann.folded import folded
from sklearn_ann.functionals import STEP, Functional
from sklearn_ann.functions import function_of
from sklearn_ann.inputs import Encoder
from sklearn_ann.moves import ends, on_support
from sklearn_ann.quantities import Quantity
from sklearn_ann.reading import read
from sklearn_ann.riesz import (
    RIESZ,
    Sample,
    linear_parts,
    representers,
)

QUICK = {"activation": "tanh", "solver": "lbfgs", "alpha": 1.0, "max_iter": 100}


def debiased(fitted, X, y, **options):
    options = {"vcov": "debiased", "random_state": 0} | options
    return average_marginal_effects(fitted, X, y, **options)


def quick(X, y, cls=ANNRegressor, **options):
    return cls(4, **QUICK | {"tol": 1e-3, "random_state": 0} | options).fit(X, y)


# ------------------------------------------------------------------------- representers


def learned(quantity, X, scale=1.0, share=None, seed=0):
    """Representer of a quantity at all rows of X, (n,)."""
    n, table = len(X), Table.of(X)
    encoder, even = Encoder.of(table), np.full(n, 1.0 / n)
    share = even[:, None] if share is None else share
    one = Functional.of(quantity, encoder, table, share, scale)
    z = encoder.encoded(table)
    sample = Sample(z, z, even, np.arange(n) % 5)
    return representers([one], sample, seed).values[:, 0, 0]


def slope(j, sd):
    return Quantity(f"x{j}", "dY/dX", j, "slope", step=STEP * sd)


@pytest.mark.parametrize("sd", [0.01, 1.0, 50.0])
def test_the_representer_of_a_slope_of_a_normal_column(sd):
    """By parts, E f' = E (x / s^2) f for x ~ N(0, s^2) independent of the rest."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3)) * [1.0, sd, 3.0]
    alpha = learned(slope(1, sd), X, scale=sd)
    exact = X[:, 1] / sd**2
    assert np.mean((alpha - exact) ** 2) < 0.05 * np.mean(exact**2)
    for f, mean_slope in (
        (X[:, 1], 1.0),
        (X[:, 1] ** 3, np.mean(3 * X[:, 1] ** 2)),
        (X[:, 1] * X[:, 0], np.mean(X[:, 0])),
    ):
        assert_allclose(np.mean(alpha * f), mean_slope, atol=0.1 * np.std(alpha * f))


def test_the_representer_of_a_treatment():
    """Inverse probabilities: d / p - (1 - d) / (1 - p)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    p = 1 / (1 + np.exp(-x))
    d = (rng.random(3000) < p).astype(float)
    found = learned(
        Quantity("d", "1 - 0", 0, "levels", 0.0, 1.0), np.column_stack([d, x])
    )
    exact = d / p - (1 - d) / (1 - p)
    inside = np.abs(x) < 1.5
    assert np.corrcoef(found[inside], exact[inside])[0, 1] > 0.97
    assert_allclose(found[inside].mean(), exact[inside].mean(), atol=0.15)


def test_the_representer_of_a_group():
    """The slope among a part of the rows: x / s^2 there, times one over its share."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=3000), rng.integers(2, size=3000)])
    members = X[:, 1] == 1
    share = (members / members.sum())[:, None]
    alpha = learned(slope(0, 1.0), X, share=share)
    exact = X[:, 0] * members / members.mean()
    assert np.mean((alpha - exact) ** 2) < 0.15 * np.mean(exact**2)


def test_the_linear_part_is_least_squares(monkeypatch):
    """Without a penalty ``(Z'Z)^-1 M`` without the fold; the slopes' M is e_j."""
    monkeypatch.setattr(riesz, "DECAYS", np.array([1e-12]))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    table, even = Table.of(X), np.full(400, 1 / 400)
    encoder = Encoder.of(table)
    z, folds = encoder.encoded(table), np.arange(400) % 4
    share, sd = even[:, None], X.std(axis=0)
    asked = [Functional.of(slope(j, sd[j]), encoder, table, share, 1.0) for j in (0, 2)]
    found = linear_parts(asked, Sample(z, z, even, folds))
    for k in range(4):
        rest = z[folds != k]
        first = np.eye(4)[:, [0, 2]] / sd[[0, 2]]
        exact = np.linalg.solve(rest.T @ rest / len(rest), first)
        assert_allclose(found[k], exact, rtol=1e-6, atol=1e-8)


def test_many_effects_have_linear_representers_only():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 90))
    y = X[:, 0] + rng.normal(size=60)
    found = debiased(LinearRegression().fit(X, y), X, y)
    assert "tanh units" not in str(found) and "with a linear part" in str(found)
    assert np.isfinite(found.std_error).all()


def test_loss_and_gradient_of_the_representer():
    raw = torch.tensor([[2.0], [-1.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[1.0, 0.5], [0.0, 3.0]], dtype=torch.float64)
    values = RIESZ.values(raw, y)
    assert values.tolist() == [4.0 - 2.0, 6.0]  # c2 alpha^2 - 2 c1 alpha
    values.sum().backward()
    with torch.no_grad():
        gradient = RIESZ.gradient(raw, y, torch.empty_like(raw))
    assert torch.equal(gradient, raw.grad)


# ----------------------------------------------------------------- where rows are moved


def rows_of(column):
    X = pd.DataFrame({"x": column})
    return FitRows(Table.of(X), None, np.ones(len(X)), None)


SLOPE = Quantity("x", "dY/dX", 0, "slope")


def test_whole_numbers_are_moved_between_their_neighbours():
    asked = on_support(SLOPE, rows_of([1, 2, 3, 6]))
    assert (asked.kind, asked.contrast) == ("shift", "+1")
    low, high, unit = ends(asked, np.array([1.0, 2.0, 3.0, 6.0]))
    assert low.tolist() == [1, 1, 2, 3] and high.tolist() == [2, 3, 6, 6]
    assert_allclose(unit, [1, 1 / 2, 1 / 4, 1 / 3])


def test_few_values_have_steps_and_many_slopes():
    rng = np.random.default_rng(0)
    few, many = rng.choice([0.5, 2.5, 7.0], 100), rng.normal(size=100)
    assert on_support(SLOPE, rows_of(few)).grid == (0.5, 2.5, 7.0)
    assert on_support(SLOPE, rows_of(many)).kind == "slope"
    assert on_support(SLOPE, rows_of(np.arange(100.0))).kind == "shift"


def test_wide_windows_stay_where_values_are():
    x = np.linspace(0.0, 10.0, 101) + 0.001
    window = Quantity("x", "+1 sd", 0, "shift", low=-1.5, high=1.5)
    inside = on_support(window, rows_of(x))
    low, high, unit = ends(inside, x)
    assert low.min() == x[0] and high.max() == x[-1]
    assert_allclose(high - low, 3.0)
    assert_allclose(unit, 1.0)
    wider = Quantity("x", "", 0, "shift", low=-8, high=8)
    low, high, unit = ends(on_support(wider, rows_of(x)), x)
    assert set(low) == {x[0]} and set(high) == {x[-1]}
    assert_allclose(unit, 1.6)
    snapped = on_support(window, rows_of([0, 1, 2, 3, 4, 5]))
    low, high, unit = ends(snapped, np.array([0.0, 3.0]))
    assert low.tolist() == [0, 2] and high.tolist() == [1, 4]
    assert_allclose(unit, [3.0, 1.5])


def test_levels_and_gaps_are_encoded():
    frame = pd.DataFrame(
        {
            "number": [1.0, np.nan, 3.0],
            "name": ["a", "b", "a"],
            "flag": [True, False, True],
        }
    )
    encoder = Encoder.of(Table.of(frame))
    found = encoder.encoded(Table.of(frame))
    assert found.shape == (3, encoder.width + 1) == (3, 5)
    assert_allclose(found[:, :3], [[-1, 0, 0], [0, 1, 1], [1, 0, 0]])
    assert_allclose(found[:, 4], 1.0)


# ------------------------------------------------------------------------------- copies


def test_copies_keep_transformers_that_have_not_seen_targets():
    X, y = wage1()
    for step, learns in (
        (StandardScaler(), False),
        (make_column_transformer((StandardScaler(), ["educ"])), False),
        (SelectKBest(k=2), True),
        (make_column_transformer((TargetEncoder(), ["educ"])), True),
        (make_pipeline(SelectFromModel(LinearRegression())), True),
    ):
        assert learns_from_targets(step) == learns
        fitted = make_pipeline(step, ANNRegressor((), n_estimators=9)).fit(X, y)
        copy = unfitted(fitted, light=True)
        assert isinstance(copy[0], Kept) != learns
        assert copy[-1].n_estimators == 4 and unfitted(fitted)[-1].n_estimators == 9
        assert not isinstance(unfitted(fitted)[0], Kept)
        before = fitted[0].transform(X)
        copy.fit(X[:200], y[:200])
        if not learns:
            assert_allclose(copy[0].transform(X), before)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_each_row_is_asked_of_the_copy_that_has_not_seen_it(same):
    """Slopes, shifts, levels, beside the estimator's own, against single averages."""
    X, y = wages_with_levels()
    X = X.assign(exper=X["exper"].fillna(X["exper"].mean()))
    columns = make_column_transformer(
        (StandardScaler(), ["educ", "exper"]), (OneHotEncoder(), ["region", "female"])
    ).fit(X)
    fitted, *copies = (
        make_pipeline(columns, quick(columns.transform(X), y, random_state=seed))
        for seed in range(4)
    )
    folds, even = np.arange(len(X)) % 3, np.full((len(X), 1), 1 / len(X))
    region = list(X).index("region")
    asked = [
        *(Quantity("", "", j, "slope", step=1e-4) for j in range(2)),
        Quantity("", "", 0, "shift", low=-1.0, high=1.0),
        Quantity("", "", region, "levels", *sorted(set(X["region"]))[:2]),
        Quantity("", "", None, "prediction"),
    ]
    over = Averaging(Table.of(X), even)
    readings = [read(each) for each in copies]
    pairs = [(each, function_of(each, "response")) for each in readings]
    own = read(fitted)
    function = folded(own, function_of(own, "response"), pairs, folds, same)
    found = averages(own, function, asked, over, with_rows=True).rows
    for k, each in enumerate([*readings, own]):
        alone = averages(
            each, function_of(each, "response"), asked, over, with_rows=True
        ).rows
        rows, place = (folds == k, 0) if k < 3 else (folds >= 0, 1)
        assert_allclose(found[:, rows, place], alone[:, rows, 0], rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------------------- estimates


def normal_rows(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, 2 * X[:, 0] - X[:, 1] + rng.normal(size=n)


def test_a_regression_is_hardly_moved_in_the_normal_design():
    X, y = normal_rows()
    line = LinearRegression().fit(X, y)
    found = debiased(line, X, y)
    assert_allclose(found.beside["plug_in"], line.coef_, rtol=1e-8)
    assert_allclose(found.estimate, [2.0, -1.0], atol=4 / np.sqrt(len(X)))
    # With x normal and the mean linear, OLS is efficient: 1 / sqrt(n).
    assert_allclose(found.std_error, 1 / np.sqrt(len(X)), rtol=0.1)
    assert not found.basis.conditional and found.basis.is_robust


def test_what_a_penalty_takes_is_given_back():
    X, y = normal_rows()
    shrunk = ANNRegressor((), alpha=len(X), solver="lbfgs").fit(X, y)
    found = debiased(shrunk, X, y)
    assert (np.abs(found.beside["plug_in"]) < [1.2, 0.6]).all()
    assert_allclose(found.estimate, [2.0, -1.0], atol=0.15)
    text = " ".join(str(found).split())
    assert "plug_in" in found.to_frame() and "Cross-fitted in 4 folds" in text
    assert "Riesz representers are networks with a linear part for each effect" in text
    assert "and 16 tanh units for all of them, stopped on a fold held out" in text


def test_influences_are_what_it_says():
    X, y = normal_rows(300)
    found = debiased(quick(X, y), X, y)
    n = len(X)
    assert_allclose(found.influence.mean(axis=0), 0.0, atol=1e-10)
    assert_allclose(found.vcov, found.influence.T @ found.influence / n / (n - 1))
    line = average_marginal_effects(LinearRegression().fit(X, y), X, y)
    gap = found.difference(line)
    assert (gap.std_error < found.std_error + line.std_error).all()


def test_groups_stay_together_and_are_summed():
    X, y = normal_rows(300)
    copies = np.tile(np.arange(300), 3)
    fitted = quick(X[copies], y[copies])
    alone = debiased(quick(X, y), X, y)
    found = debiased(fitted, X[copies], y[copies], groups=copies)
    naive = debiased(fitted, X[copies], y[copies])
    assert found.basis.law.df == 299 and found.basis.factor == 300 / 299
    # Rows written three times know no more than once.
    assert_allclose(found.std_error, alone.std_error, rtol=0.2)
    assert (naive.std_error < 0.7 * found.std_error).all()
    sums = pd.DataFrame(found.influence).groupby(copies).sum().to_numpy()
    assert_allclose(found.vcov, sums.T @ sums / 900**2 * 300 / 299)


def test_weights_are_rows():
    X, y = normal_rows(400)
    weight = np.repeat([0.0, 1.0], 200)
    line = LinearRegression().fit(X, y, weight)
    found = debiased(line, X, y, sample_weight=weight)
    alone = debiased(LinearRegression().fit(X[200:], y[200:]), X[200:], y[200:])
    assert_allclose(found.estimate, alone.estimate, rtol=1e-4)
    assert_allclose(found.std_error, alone.std_error, rtol=1e-4)
    assert found.basis.n == 200 and (found.influence[:200] == 0).all()


def test_the_average_prediction_is_the_mean():
    """psi is then y itself, whatever the estimator."""
    X, y = two_units(0, 200)
    forest = RandomForestRegressor(5, random_state=0).fit(X, y)
    found = average_predictions(forest, X, y, vcov="debiased", random_state=0)
    assert_allclose(found.estimate, y.mean())
    assert_allclose(found.std_error, y.std(ddof=1) / np.sqrt(200))


def test_by_group_and_with_columns_held():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=2000), rng.integers(2, size=2000)])
    y = X[:, 0] * (1 + 2 * X[:, 1]) + rng.normal(size=2000)
    fitted = quick(X, y)
    found = debiased(fitted, X, y, features=0, by=1)
    assert_allclose(found.estimate, [1.0, 3.0], atol=0.3)
    assert found.group_differences().p_value[0] < 1e-6
    held = debiased(fitted, X, y, features=0, at={1: 1.0})
    assert_allclose(held.estimate, 3.0, atol=0.3)


def test_trees_have_centred_contrasts():
    X, y = normal_rows()
    for cls, target in (
        (RandomForestRegressor, y),
        (RandomForestClassifier, (y > 0).astype(int)),
    ):
        found = debiased(cls(20, random_state=0).fit(X, target), X, target)
        assert set(found.labels["contrast"]) == {"+1 sd"}
        assert (np.sign(found.estimate) == [1, -1]).all()
        if cls is RandomForestRegressor:
            assert_allclose(found.estimate, [2.0, -1.0], atol=0.25)


def test_through_pipelines_targets_and_searches():
    X, y = wages_with_levels()
    X = X.assign(exper=X["exper"].fillna(X["exper"].mean()))
    columns = make_column_transformer(
        (StandardScaler(), ["educ", "exper"]),
        (OneHotEncoder(drop="first"), ["region", "place", "female"]),
    )
    pipeline = make_pipeline(columns, ANNRegressor((), alpha=0.0)).fit(X, y)
    found = debiased(pipeline, X, y)
    terms = ["educ", "exper", *["region"] * 3, "place", "female"]
    assert list(found.labels["term"]) == terms
    female = found.to_frame().iloc[-1]
    assert -0.45 < female["estimate"] < -0.25 and female["std_error"] < 0.08
    logs = TransformedTargetRegressor(pipeline, func=np.log, inverse_func=np.exp)
    levels = debiased(logs.fit(X, np.exp(y)), X, np.exp(y), features="educ")
    assert 0.2 < levels.estimate[0] < 1.0
    search = GridSearchCV(ANNRegressor(()), {"alpha": [0.1, 1.0]}).fit(X[["educ"]], y)
    best = debiased(search.best_estimator_, X[["educ"]], y)
    assert_allclose(debiased(search, X[["educ"]], y).estimate, best.estimate)


def test_several_outputs_and_labels():
    X, y = normal_rows(300)
    Y = np.column_stack([y, -y])
    both = debiased(quick(X, Y), X, Y)
    assert_allclose(both.estimate[::2], -both.estimate[1::2], atol=0.05)
    labels = (Y > 0).astype(int)
    found = debiased(quick(X, labels, ANNClassifier), X, labels)
    assert found.estimate.shape == (4,) and (found.std_error > 0).all()


def test_rows_without_a_value_are_left_out():
    X, y = wage1()
    gaps = X.astype(float).mask(np.arange(len(X))[:, None] % 10 == [[0, 99, 99]])

    class Filled(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.line_ = LinearRegression().fit(X.fillna(0.0), y)
            return self

        def predict(self, X):
            return self.line_.predict(X.fillna(0.0))

    found = debiased(Filled().fit(gaps, y), gaps, y)
    assert "53 rows where educ is missing are left out" in str(found)
    assert np.isfinite(found.std_error).all()


def test_the_same_seed_gives_the_same():
    X, y = two_units(0, 200)
    fitted = quick(X, y)
    one, two, other = (debiased(fitted, X, y, random_state=s) for s in (1, 1, 2))
    assert (one.estimate == two.estimate).all() and (one.vcov == two.vcov).all()
    assert (one.estimate != other.estimate).all()
    seeds = debiased(fitted, X, y, n_seeds=2)
    assert (seeds.beside["seed_sd"] > 0).all() and "plug_in" in seeds.beside


# ----------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"y": None}, "y was not given: the correction comes from the targets"),
        ({"target": "link"}, "target='link' is not linear in means"),
        ({"at": "mean"}, "not over newdata or at one row"),
        ({"newdata": two_units(1, 200)[0]}, "not over newdata or at one row"),
        ({"kind": "eyex"}, r"relative changes \(eY/eX\) are not linear"),
        ({"groups": np.arange(200) % 2}, "cross-fitting needs 20 rows and 3 groups"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*clusters are few")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_refusals_and_that_auto_has_none(options, match):
    X, y = two_units(0, 200)
    labels = (y > 0).astype(int)
    fitted = ANNClassifier(
        3, early_stopping=True, solver="lbfgs", max_iter=20, random_state=0
    ).fit(X, labels)
    given = {"y": labels, "random_state": 0} | options
    with pytest.raises(ValueError, match=match) as said:
        average_marginal_effects(fitted, X, vcov="debiased", **given)
    assert "vcov='debiased' does not hold here" in str(said.value)
    found = average_marginal_effects(fitted, X, n_replicates=10, **given)
    # Of two groups a replicate often draws one only, of which none can be held out.
    nothing = options.get("y", 0) is None or "groups" in options
    expected = "none" if nothing else "bootstrap"
    assert found.basis.method == expected
    assert "not debiased, because" in found.basis.why
    assert expected == "none" or np.isfinite(found.std_error).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_quantiles_have_no_debiased_effects():
    X, y = two_units(0, 200)
    fitted = quick(X, y, loss="quantile")
    with pytest.raises(ValueError, match="'quantile' is not for means"):
        debiased(fitted, X, y)
    found = average_marginal_effects(fitted, X, y, n_replicates=5, random_state=0)
    assert found.basis.method == "bootstrap" and "no curvature" in found.basis.why


def test_too_few_rows_and_rare_classes():
    X, y = two_units(0, 60)
    with pytest.raises(ValueError, match="needs 20 rows"):
        debiased(LinearRegression().fit(X[:10], y[:10]), X[:10], y[:10])
    labels = np.where(np.arange(60) < 3, 2, y > 0).astype(int)
    with pytest.raises(ValueError, match="a class has fewer than 4 rows"):
        debiased(LogisticRegression().fit(X, labels), X, labels)
    wide = np.random.default_rng(0).normal(size=(60, 501))
    with pytest.raises(ValueError, match="501 columns and levels of X are more"):
        debiased(LinearRegression().fit(wide, y), wide, y, features=0)


def test_copies_that_cannot_be_fitted():
    X, y = two_units(0, 60)

    class Once(LinearRegression):
        def fit(self, X, y):
            if len(X) < 60:
                raise RuntimeError("too small a table")
            return super().fit(X, y)

    fitted = Once().fit(X, y)
    with pytest.raises(ValueError, match=r"a copy could not be fitted.*too small"):
        debiased(fitted, X, y)
    weight = np.linspace(1.0, 2.0, 60)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        debiased(fitted, X, y, sample_weight=weight)
    found = average_marginal_effects(fitted, X, y, n_replicates=5, random_state=0)
    assert found.basis.method == "bootstrap"


def test_a_class_that_one_group_has():
    X, y = two_units(0, 90)
    groups = np.arange(90) % 9
    labels = np.where(groups == 0, 2, y > 0).astype(int)
    fitted = LogisticRegression().fit(X, labels)
    with pytest.raises(ValueError, match="a class is missing from all folds but one"):
        debiased(fitted, X, labels, groups=groups)


def test_a_copy_that_refuses_rows():
    """One that chose its columns by the targets is fitted again, with its encoder."""
    X, y = wage1()
    X = X.assign(rare=np.where(np.arange(len(X)) == 7, "one", "many"))
    columns = make_column_transformer((OneHotEncoder(), ["rare"]), remainder="drop")
    fitted = make_pipeline(columns, SelectKBest(k="all"), LinearRegression())
    with pytest.raises(ValueError, match="fitted to other rows refuses some of these"):
        debiased(fitted.fit(X, y), X, y)


def test_a_seed_with_which_nothing_is_fitted():
    class Once(RandomForestRegressor):
        def fit(self, X, y):
            if self.random_state != 0:
                raise RuntimeError("the seed is not 0")
            return super().fit(X, y)

    X, y = two_units(0, 60)
    fitted = Once(5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="another seed failed: the seed is not 0"):
        debiased(fitted, X, y, n_seeds=2)


def test_a_constant_column_is_absent():
    X, y = two_units(0, 100)
    X = np.column_stack([X, np.ones(100)])
    found = debiased(LinearRegression().fit(X, y), X, y)
    assert np.isnan(found.estimate[2]) and "x2 is constant" in str(found)
    assert np.isfinite(found.std_error[:2]).all()


# --------------------------------------------------------------------------------- auto


def fair():
    table = sm.datasets.fair.load_pandas().data
    return table.drop(columns="affairs"), (table.affairs > 0).astype(int)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, {"early_stopping": False}])
@pytest.mark.parametrize(
    ("network", "data"),
    [
        (ANNRegressor, wage1),
        (ANNClassifier, mroz),
        pytest.param(ANNClassifier, fair, marks=pytest.mark.slow),
        (ANNClassifier, anes96),
    ],
)
def test_default_networks_just_work(network, data, options):
    X, y = data()
    found = average_marginal_effects(network(**options).fit(X, y), X, y)
    assert np.isfinite(found.std_error).all() and (found.std_error > 0).all()
    assert found.basis.method == "debiased"
    text, why = " ".join(str(found).split()), "minibatches"
    if not options:
        why = "it is an ensemble"
        assert "in 4 folds, by ensembles of at most 4 members" in text
    assert f"auto; not HC1, because {why}" in found.basis.why


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_categories_within_the_network_just_work():
    X, y = wages_with_levels()
    X = X.astype(dict.fromkeys(("region", "place"), "category"))
    network = ANNRegressor(
        4, n_estimators=2, early_stopping=True, categorical_features="from_dtype",
        random_state=0,
    ).fit(X, y)  # fmt: skip
    found = average_marginal_effects(network, X, y, random_state=0)
    assert found.basis.method == "debiased" and np.isfinite(found.std_error).all()


def test_an_ensemble_is_debiased():
    X, y = two_units(0, 200)
    found = average_marginal_effects(quick(X, y, n_estimators=2), X, y, random_state=0)
    assert found.basis.why == "auto; not HC1, because it is an ensemble"
    assert np.isfinite(found.std_error).all()
