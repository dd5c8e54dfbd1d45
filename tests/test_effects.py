"""Effects of raw columns: what is asked, through what, over which rows."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
from econ_data import (
    MROZ_EXPERIENCE,
    SPECTOR_AME,
    anes96,
    mroz,
    spector,
    two_units,
    wage1,
    wages_with_levels,
)
from pages import check_page
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_transformer,
)
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
)

RTOL = 1e-6


def close(found, expected, rtol=RTOL, atol=0.0):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def logit():
    X, y = spector()
    return ANNClassifier(()).fit(X, y), X, y


@pytest.fixture(scope="module")
def network():
    X, y = two_units(0)
    fitted = ANNRegressor(
        2, activation="tanh", solver="lbfgs", alpha=0.0, tol=1e-9, max_iter=5000,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    return fitted, X, y


def row_slopes(predict, X, j, h=1e-5):
    high, low = X.copy(), X.copy()
    high[:, j] += h
    low[:, j] -= h
    return (predict(high) - predict(low)) / (2 * h)


# ----------------------------------------------------------------- kinds of quantities


def test_auto_takes_a_contrast_of_zero_and_one(logit):
    """PSI: the contrast .35751516 (.14200339), the slope .30517770."""
    fitted, X, y = logit
    effects = average_marginal_effects(fitted, X, y, vcov="classical")
    frame = effects.to_frame().set_index("term")
    assert frame["contrast"].tolist() == ["dY/dX", "dY/dX", "1 - 0"]
    close(frame.loc["PSI", ["estimate", "std_error"]], [0.35751516, 0.14200339])
    slope = average_marginal_effects(
        fitted, X, y, kind={"PSI": "slope"}, vcov="classical"
    )
    close(slope.estimate, SPECTOR_AME["estimate"])
    close(slope.std_error, SPECTOR_AME["classical"])


@pytest.mark.parametrize("kind", ["eyex", "dyex", "eydx"])
@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_elasticities_and_places_as_in_statsmodels(logit, kind, at):
    fitted, X, y = logit
    oracle = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    for name, asked in ((kind, kind), ("dydx", "slope")):
        expected = oracle.get_margeff(at=at, method=name)
        found = average_marginal_effects(
            fitted, X, y, kind=asked, at=at, vcov="classical"
        )
        close(found.estimate, expected.margeff)
        close(found.std_error, expected.margeff_se)


def test_contrasts_of_logarithms_as_in_statsmodels(logit):
    fitted, X, y = logit
    oracle = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    expected = oracle.get_margeff(method="eydx", dummy=True)
    boolean = X.assign(PSI=X.PSI.astype(bool))
    found = average_marginal_effects(fitted, boolean, y, kind="eydx", vcov="classical")
    assert found.labels["contrast"].tolist()[2] == "ln(True) - ln(False)"
    close(found.estimate, expected.margeff)
    close(found.std_error, expected.margeff_se)


def test_columns_held_at_values_as_in_statsmodels(logit):
    fitted, X, y = logit
    oracle = sm.Logit(y, sm.add_constant(X)).fit(method="newton", tol=1e-14, disp=0)
    expected = oracle.get_margeff(atexog={1: 3.0})
    found = average_marginal_effects(
        fitted, X, y, kind="slope", at={"GPA": 3.0}, vcov="classical"
    )
    close(found.estimate, expected.margeff)
    close(found.std_error, expected.margeff_se)
    assert found.facts["Averaged"] == "over 32 rows of the fit, with GPA = 3.0"


def test_link_scale_is_the_coefficients(logit):
    fitted, X, y = logit
    effects = average_marginal_effects(fitted, X, y, kind="slope", target="link")
    close(effects.estimate, fitted.coef_[0])
    X, y = anes96()
    several = ANNClassifier(()).fit(X, y)
    effects = average_marginal_effects(several, X, y, kind="slope", target="link")
    close(effects.estimate.reshape(5, 7), several.coef_.T, atol=1e-12)


def test_integers_have_slopes_and_contrasts(network):
    X, y = wage1()
    assert (X.dtypes == "int64").all()
    fitted = ANNRegressor(()).fit(X, y)
    slopes, steps = (
        average_marginal_effects(fitted, X, y, kind=kind)
        for kind in ("auto", "contrast")
    )
    assert slopes.labels["contrast"].unique().tolist() == ["dY/dX"]
    assert steps.labels["contrast"].unique().tolist() == ["+1"]
    close(slopes.estimate, steps.estimate)
    close(slopes.std_error, steps.std_error)
    fitted, X, y = network
    step = average_marginal_effects(fitted, X, y, kind="contrast", features=[0])
    half = np.array([0.5, 0.0])
    by_hand = fitted.predict(X + half) - fitted.predict(X - half)
    close(step.estimate, by_hand.mean(), 1e-5)


def test_slopes_of_a_network_are_those_of_its_predictions(network):
    fitted, X, y = network
    effects = average_marginal_effects(fitted, X, y)
    by_hand = [row_slopes(fitted.predict, X, j).mean() for j in range(2)]
    close(effects.estimate, by_hand, 1e-5)


@pytest.mark.parametrize("target", ["response", "link"])
def test_ensembles_have_the_effects_of_their_predictions(target):
    X, y = two_units(1, n=300)
    ours = ANNClassifier(
        2, activation="tanh", solver="lbfgs", n_estimators=3, max_iter=300,
        random_state=0, tol=1e-3,
    )  # fmt: skip
    for labels in ((y > 0).astype(int), np.digitize(y, [-0.5, 0.5])):
        fitted = ours.fit(X, labels)
        effects = average_marginal_effects(fitted, X, target=target)

        def predict(X, fitted=fitted):
            if target == "response":
                found = fitted.predict_proba(X)
                return found[:, 1:] if found.shape[1] == 2 else found
            found = fitted.decision_function(X).reshape(len(X), -1)
            return (
                found if found.shape[1] == 1 else found - found.mean(1, keepdims=True)
            )

        by_hand = [row_slopes(predict, X, j).mean(axis=0) for j in range(2)]
        close(effects.estimate, np.ravel(by_hand), 1e-6)
        assert effects.basis.method == "none"


def test_what_is_no_network_has_contrasts_of_a_standard_deviation():
    X, y = two_units(1, n=300)
    for estimator, target in (
        (RandomForestRegressor(10, random_state=0), y),
        (RandomForestClassifier(10, random_state=0), np.digitize(y, [-0.5, 0.5])),
    ):
        fitted = estimator.fit(X, target)
        effects = average_marginal_effects(fitted, X)
        predict = getattr(fitted, "predict_proba", fitted.predict)
        sd = X.std(axis=0)
        by_hand = [
            (predict(X + half) - predict(X - half)).mean(axis=0)
            for half in np.diag(sd / 2)
        ]
        close(effects.estimate, np.ravel(by_hand))
        assert set(effects.labels["contrast"]) == {"+1 sd"}
        slopes = average_marginal_effects(fitted, X, kind="slope")
        close(slopes.estimate, 0.0, atol=1e-12)  # the derivative of a tree


# ------------------------------------------------------------------ through a Pipeline


def quadratic(columns):
    return make_column_transformer(
        (PolynomialFeatures(2, include_bias=False), columns), remainder="passthrough"
    )


@pytest.mark.parametrize(
    "last", [ANNClassifier(()), LogisticRegression(C=np.inf, max_iter=10_000)]
)
@pytest.mark.parametrize("scaler", [None, StandardScaler()])
def test_total_effect_of_experience(last, scaler):
    """Of experience and its square together, which statsmodels takes one by one."""
    X, y = mroz()
    steps = [quadratic(["exper"]), *([scaler] if scaler else []), last]
    fitted = make_pipeline(*steps).fit(X, y)
    effects = average_marginal_effects(fitted, X, y, features="exper", vcov="classical")
    found = [effects.estimate[0], effects.std_error[0]]
    close(found, MROZ_EXPERIENCE, 1e-7)


def test_splines_functions_and_interactions():
    """At its ends, a spline that refuses to extrapolate leaves one side to step to."""
    X, y = two_units(5, n=400)
    X = pd.DataFrame(np.abs(X) + 0.1, columns=["a", "b"])
    fitted = make_pipeline(
        make_column_transformer(
            (SplineTransformer(4, extrapolation="error"), ["a"]),
            (FunctionTransformer(np.sqrt, feature_names_out="one-to-one"), ["b"]),
        ),
        PolynomialFeatures(2, interaction_only=True),
        ANNRegressor((), alpha=0.1),
    ).fit(X, y)
    effects = average_marginal_effects(fitted, X, y)

    def predict(values):
        return fitted.predict(pd.DataFrame(values, columns=["a", "b"]))

    rows, h = X.to_numpy(), 1e-6
    ends = [rows[:, 0].argmin(), rows[:, 0].argmax()]
    inner = np.delete(rows, ends, axis=0)
    at_ends = [
        (predict(rows[[i]] + [[step, 0]]) - predict(rows[[i]]))[0] / step
        for i, step in zip(ends, (h, -h), strict=True)
    ]
    slopes = np.r_[row_slopes(predict, inner, 0, h), at_ends]
    close(effects.estimate[0], slopes.mean(), 1e-5)
    close(effects.estimate[1], row_slopes(predict, rows, 1, h).mean(), 1e-5)


def levels_pipeline():
    numbers = make_pipeline(SimpleImputer(), SplineTransformer(4, include_bias=False))
    return make_pipeline(
        ColumnTransformer(
            [
                ("numbers", numbers, ["exper"]),
                ("gaps", SimpleImputer(add_indicator=True), ["educ"]),
                ("levels", OneHotEncoder(drop="first"), ["region", "place"]),
                ("rest", "passthrough", ["female"]),
            ]
        ),
        LinearRegression(),
    )


def with_gaps():
    X, y = wages_with_levels()
    X = X.copy()
    X.loc[3:20, "educ"] = np.nan
    return X, y


def test_all_kinds_of_columns_through_a_pipeline():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)
    effects = average_marginal_effects(fitted, X, y, vcov="classical")
    frame = effects.to_frame().set_index(["term", "contrast"])
    assert frame.index.tolist() == [
        ("educ", "dY/dX"),
        ("exper", "dY/dX"),
        ("region", "south - west"),
        ("region", "northcen - west"),
        ("region", "east - west"),
        ("place", "land - city"),
        ("female", "True - False"),
    ]
    # The oracle: the same design by hand, where contrasts are coefficients.
    design = fitted[:-1].transform(X)
    names = list(fitted[:-1].get_feature_names_out())
    oracle = sm.OLS(y.to_numpy(), sm.add_constant(design)).fit()
    params = dict(zip(["const", *names], oracle.params, strict=True))
    bse = dict(zip(["const", *names], oracle.bse, strict=True))
    pairs = {
        ("educ", "dY/dX"): "gaps__educ",
        ("place", "land - city"): "levels__place_land",
        ("female", "True - False"): "rest__female",
    }
    for label, name in pairs.items():
        close(frame.loc[label, "estimate"], params[name])
        close(frame.loc[label, "std_error"], bse[name])
    # Encoded, east comes first; here the first category does, which is west.
    close(
        frame.loc[("region", "east - west"), "estimate"], -params["levels__region_west"]
    )
    close(frame.loc[("region", "east - west"), "std_error"], bse["levels__region_west"])
    close(
        frame.loc[("region", "south - west"), "estimate"],
        params["levels__region_south"] - params["levels__region_west"],
    )


def test_references():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)

    def ask(**options):
        found = average_marginal_effects(fitted, X, y, features=["region"], **options)
        return found.labels["contrast"].tolist(), found.estimate

    labels, estimates = ask(reference="east")
    assert labels == ["west - east", "south - east", "northcen - east"]
    _, others = ask(reference={"region": "south"})
    close(others[0], estimates[0] - estimates[1])
    with pytest.raises(ValueError, match="reference='east' is a level of none of the"):
        average_marginal_effects(fitted, X, y, features="exper", reference="east")
    with pytest.raises(ValueError, match="is not a level of 'region'; its levels are"):
        ask(reference={"region": "mars"})
    with pytest.raises(ValueError, match="reference names 'mars', which is not among"):
        ask(reference={"mars": 1})


def test_rows_without_a_value_are_left_out_and_counted():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)
    effects = average_marginal_effects(fitted, X, y, features=["educ", "exper"])
    note = "18 rows where educ is missing are left out of its effect."
    assert effects.basis.notes == (note,) and note in effects.summary()
    whole = X[X.educ.notna()]
    among = average_marginal_effects(fitted, X, y, newdata=whole, features="educ")
    close(effects.estimate[0], among.estimate[0])
    unconditional = average_marginal_effects(
        fitted, X, y, features=["educ", "exper"], unconditional=True
    )
    assert np.isfinite(unconditional.std_error).all()
    close(unconditional.estimate, effects.estimate)


@pytest.mark.parametrize(
    "stepper",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore"),
        KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
        FunctionTransformer(lambda X: np.floor(X / 5)),
    ],
    ids=["encoder", "lenient encoder", "binner", "floor"],
)
def test_columns_cut_into_steps_have_contrasts(stepper):
    X, y = wage1()
    fitted = make_pipeline(
        make_column_transformer((stepper, ["educ"]), remainder="passthrough"),
        LinearRegression(),
    ).fit(X, y)
    effects = average_marginal_effects(fitted, X, y)
    levels = sorted(X.educ.unique())
    by_column = effects.labels.groupby("term", sort=False)["contrast"].agg(list)
    assert by_column["educ"] == [f"{level} - {levels[0]}" for level in levels[1:]]
    assert by_column["exper"] == by_column["tenure"] == ["dY/dX"]
    with pytest.raises(ValueError, match="'educ' is cut into steps by a transformer"):
        average_marginal_effects(fitted, X, y, kind="slope")


def test_smooth_transformers_are_not_taken_for_steps():
    X, y = wage1()
    smooth = make_column_transformer(
        (SplineTransformer(6, degree=1), ["educ"]),
        (FunctionTransformer(lambda X: np.maximum(X - 10, 0)), ["exper"]),
        (StandardScaler(), ["tenure"]),
    )
    fitted = make_pipeline(smooth, LinearRegression()).fit(X, y)
    effects = average_marginal_effects(fitted, X, y)
    assert set(effects.labels["contrast"]) == {"dY/dX"}


def test_searches_are_their_best_estimator():
    X, y = wage1()
    pipeline = make_pipeline(StandardScaler(), ANNRegressor(()))
    search = GridSearchCV(pipeline, {"annregressor__alpha": [0.0, 10.0]}, cv=3)
    search.fit(X, y)
    one, other = (
        average_marginal_effects(fitted, X, y)
        for fitted in (search, search.best_estimator_)
    )
    close(one.estimate, other.estimate)
    close(one.std_error, other.std_error)


# -------------------------------------------------------------------- targets, outputs


def test_transformed_targets():
    """Effects on wages of a regression of their logarithm, by hand."""
    X, y = wage1()
    wage = np.exp(y)
    fitted = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), ANNRegressor(())),
        func=np.log,
        inverse_func=np.exp,
    ).fit(X, wage)
    effects = average_marginal_effects(fitted, X, wage, vcov="HC0")
    x = sm.add_constant(X).to_numpy()
    oracle = sm.OLS(y, x).fit(cov_type="HC0")
    means = np.exp(x @ oracle.params.to_numpy())
    close(effects.estimate, oracle.params.to_numpy()[1:] * means.mean())
    V = oracle.cov_params().to_numpy()
    for j in range(3):
        J = oracle.params.iloc[1 + j] * (means[:, None] * x).mean(axis=0)
        J[1 + j] += means.mean()
        close(effects.std_error[j], np.sqrt(J @ V @ J))
    on_log = average_marginal_effects(fitted, X, wage, vcov="HC0", target="link")
    close(on_log.estimate, oracle.params.iloc[1:])
    close(on_log.std_error, oracle.bse.iloc[1:])


def test_several_transformed_targets():
    X, y = wage1()
    Y = np.column_stack([np.exp(y), np.exp(y / 2)])
    fitted = TransformedTargetRegressor(
        LinearRegression(), func=np.log, inverse_func=np.exp
    ).fit(X, Y)
    both = average_marginal_effects(fitted, X, Y).to_frame()
    for i in range(2):
        one = TransformedTargetRegressor(
            LinearRegression(), func=np.log, inverse_func=np.exp
        ).fit(X, Y[:, i])
        alone = average_marginal_effects(one, X, Y[:, i]).to_frame()
        found = both[both["output"] == i]
        close(found["estimate"], alone["estimate"])
        close(found["std_error"], alone["std_error"])
    mixing = TransformedTargetRegressor(
        LinearRegression(),
        func=lambda Y: Y @ [[1, 1], [0, 1]],
        inverse_func=lambda Y: Y @ [[1, -1], [0, 1]],
    ).fit(X, Y)
    with pytest.raises(ValueError, match=r"mixes its columns.*Use target='link'"):
        average_marginal_effects(mixing, X, Y)


def test_several_labels():
    X, y = two_units(0)
    Y = np.column_stack([y > 0, y > 1]).astype(int)
    fitted = ANNClassifier(()).fit(X, Y)
    effects = average_marginal_effects(fitted, X, Y, vcov="classical").to_frame()
    assert effects["class"].tolist() == [0, 1, 0, 1]
    for i in range(2):
        alone = sm.Logit(Y[:, i], sm.add_constant(X)).fit(
            method="newton", tol=1e-14, disp=0
        )
        margins = alone.get_margeff()
        found = effects[effects["class"] == i]
        close(found["estimate"], margins.margeff)
        close(found["std_error"], margins.margeff_se)


def test_counts():
    X, y = wage1()
    y = np.round(np.exp(y))
    Z = StandardScaler().fit_transform(X)
    oracle = sm.Poisson(y, sm.add_constant(Z)).fit(
        method="newton", tol=1e-14, disp=0, maxiter=100
    )
    margins = oracle.get_margeff()
    for estimator in (
        ANNRegressor((), loss="poisson"),
        PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000),
    ):
        effects = average_marginal_effects(estimator.fit(Z, y), Z, y, vcov="classical")
        close(effects.estimate, margins.margeff)
        close(effects.std_error, margins.margeff_se)


# -------------------------------------------------------------- rows that are averaged


def test_newdata_are_the_rows_averaged_over(network):
    fitted, X, y = network
    rows = X[:100] + 0.5
    effects = average_marginal_effects(fitted, X, y, newdata=rows)
    by_hand = [row_slopes(fitted.predict, rows, j).mean() for j in range(2)]
    close(effects.estimate, by_hand, 1e-5)
    assert effects.facts["Averaged"] == "over 100 rows of newdata"
    assert effects.influence.shape == (1000, 2)
    with pytest.raises(ValueError, match="rows of newdata are taken as given"):
        average_marginal_effects(fitted, X, y, newdata=rows, unconditional=True)
    frame = pd.DataFrame(rows, columns=["a", "b"])
    with pytest.raises(ValueError, match="newdata has the columns a, b; expected"):
        average_marginal_effects(fitted, X, y, newdata=frame)


def test_weights_weigh_the_average(network):
    X, y = two_units(7)
    weight = np.random.default_rng(0).uniform(0.1, 2.0, len(y))
    fitted = ANNClassifier(()).fit(X, y > 0, weight)
    effects = average_marginal_effects(fitted, X, y > 0, sample_weight=weight)
    p = fitted.predict_proba(X)[:, 1]
    by_hand = np.average(p * (1 - p), weights=weight) * fitted.coef_[0]
    close(effects.estimate, by_hand)


def test_groups_of_rows(network):
    fitted, X, y = network
    side = np.where(X[:, 0] > 0, "right", "left")
    effects = average_marginal_effects(fitted, X, y, by=side, vcov="HC1")
    assert effects.names == ["x0@left", "x0@right", "x1@left", "x1@right"]
    for group, place in (("left", 0), ("right", 1)):
        alone = average_marginal_effects(
            fitted, X, y, newdata=X[side == group], vcov="HC1"
        )
        close(effects.estimate[place::2], alone.estimate)
        close(effects.std_error[place::2], alone.std_error)
    differences = effects.group_differences()
    close(differences.estimate, effects.estimate[1::2] - effects.estimate[::2])
    assert differences.labels["by"].tolist() == ["right - left"] * 2
    V = effects.vcov
    expected = np.sqrt(V[0, 0] + V[1, 1] - 2 * V[0, 1])
    close(differences.std_error[0], expected)
    swapped = effects.group_differences("right")
    close(swapped.estimate, -differences.estimate)
    with pytest.raises(ValueError, match="There is no group 'top'"):
        effects.group_differences("top")


def test_groups_named_by_a_column():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)
    effects = average_marginal_effects(
        fitted, X, y, features=["exper", "region"], by="female", unconditional=True
    )
    assert list(effects.to_frame().columns[:3]) == ["term", "contrast", "female"]
    differences = effects.group_differences()
    # Linear and additive: the contrasts of regions are the same for all.
    still = differences.labels["term"] == "region"
    assert (differences.std_error[still] == 0).all()
    assert np.isnan(differences.p_value[still]).all()
    assert differences.std_error[~still] > 0


def test_unconditional_by_group_is_that_of_the_subpopulation(network):
    """Influence (n / n_g) 1[in g] (m - theta_g) beside that of the parameters."""
    fitted, X, y = network
    side = X[:, 0] > 0
    asked = {"by": side, "vcov": "HC0", "features": [0]}
    conditional = average_marginal_effects(fitted, X, y, **asked)
    effects = average_marginal_effects(fitted, X, y, unconditional=True, **asked)
    slopes = row_slopes(fitted.predict, X, 0)
    for g, members in enumerate((~side, side)):
        own = members / members.mean() * (slopes - slopes[members].mean())
        influence = conditional.influence[:, g] + own
        close(effects.std_error[g], np.sqrt((influence**2).sum()) / len(y), 1e-5)


def test_one_row(network):
    fitted, X, y = network
    at_mean = average_marginal_effects(fitted, X, y, at="mean")
    row = X.mean(axis=0, keepdims=True)
    close(at_mean.estimate, [row_slopes(fitted.predict, row, j)[0] for j in range(2)])
    with pytest.raises(ValueError, match="at='mean' asks for one row, which is taken"):
        average_marginal_effects(fitted, X, y, at="mean", unconditional=True)
    with pytest.raises(ValueError, match="by= averages over rows, of which at='mean'"):
        average_marginal_effects(fitted, X, y, at="mean", by=[0] * len(y))


def test_the_typical_row_has_the_most_frequent_levels():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)
    found = average_predictions(fitted, X, y, at="median")
    row = pd.DataFrame(
        {
            "educ": [X.educ.median()],
            "exper": [X.exper.median()],
            "region": pd.Categorical(["south"], X.region.cat.categories),
            "place": ["city"],
            "female": [False],
        }
    )
    assert X.region.mode()[0] == "south" and X.place.mode()[0] == "city"
    close(found.estimate, fitted.predict(row))


def test_the_typical_row_of_encoded_numbers():
    X, y = wage1()
    fitted = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["educ"]), remainder="passthrough"),
        LinearRegression(),
    ).fit(X, y)
    row = X.mean().to_frame().T.assign(educ=12)  # a mean of codes is no code
    assert X.educ.mode()[0] == 12
    close(average_predictions(fitted, X, y, at="mean").estimate, fitted.predict(row))


def test_values_and_levels_to_hold_columns_at():
    X, y = with_gaps()
    fitted = levels_pipeline().fit(X, y)
    found = average_predictions(fitted, X, y, at={"exper": 2.5, "region": "east"})
    close(found.estimate, fitted.predict(X.assign(exper=2.5, region="east")).mean())
    with pytest.raises(ValueError, match="'mars' is not a level of 'region'; its lev"):
        average_predictions(fitted, X, y, at={"region": "mars"})


# ------------------------------------------------------------------------- predictions


def test_average_predictions():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    found = average_predictions(fitted, X, y, vcov="classical")
    oracle = sm.OLS(y, sm.add_constant(X)).fit()
    mean = np.r_[1.0, X.mean()]
    close(found.estimate, y.mean())
    close(found.std_error, np.sqrt(mean @ oracle.cov_params().to_numpy() @ mean))
    assert found.to_frame().columns[0] == "estimate"
    # For the population, the mean of y varies as a mean does.
    whole = average_predictions(fitted, X, y, vcov="HC0", unconditional=True)
    close(whole.std_error, y.std(ddof=0) / np.sqrt(len(y)))


def test_predictive_margins(logit):
    """Rows set to each level; their difference is the contrast."""
    fitted, X, y = logit
    margins = average_predictions(fitted, X, y, features="PSI", vcov="classical")
    assert margins.labels["contrast"].tolist() == ["0", "1"]
    effect = average_marginal_effects(fitted, X, y, features="PSI", vcov="classical")
    close(margins.estimate[1] - margins.estimate[0], effect.estimate[0])
    test = margins.wald_test("`PSI[1]` = `PSI[0]`")
    close(test.statistic, effect.statistic[0] ** 2)
    with pytest.raises(
        ValueError, match="levels of 'GPA', which has none: it is float"
    ):
        average_predictions(fitted, X, y, features="GPA")


# ------------------------------------------------------------------------ other tables


def test_polars_is_pandas():
    X, y = with_gaps()
    frame = pl.DataFrame(
        {
            "educ": X.educ.to_list(),
            "exper": X.exper.to_list(),
            "region": pl.Series(X.region.astype(str).tolist(), dtype=pl.Categorical),
            "place": X.place.tolist(),
            "female": X.female.tolist(),
        }
    ).with_columns(pl.col("educ").fill_nan(None))
    region = X.region.astype(str)
    pandas = levels_pipeline().fit(X.assign(region=region), y)
    polars = levels_pipeline().fit(frame, pl.Series(y))
    options = {"features": ["educ", "exper", "place", "female"], "vcov": "HC1"}
    one = average_marginal_effects(pandas, X.assign(region=region), y, **options)
    other = average_marginal_effects(polars, frame, pl.Series(y), **options)
    close(other.estimate, one.estimate)
    close(other.std_error, one.std_error)
    regions = average_marginal_effects(polars, frame, pl.Series(y), features="region")
    assert len(regions.estimate) == 3


def test_arrays_have_numbers_for_names(network):
    fitted, X, y = network
    effects = average_marginal_effects(fitted, X, y, features=[1])
    assert effects.labels["term"].tolist() == ["x1"]
    X, y = wage1()
    named = ANNRegressor(()).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of X without feature names
        effects = average_marginal_effects(named, X.to_numpy(), y)
    assert effects.labels["term"].tolist() == ["educ", "exper", "tenure"]


def test_narrow_numbers_are_stepped_in_float64():
    X, y = mroz()
    narrow = X.astype({"exper": "int8", "nwifeinc": "float32"})
    fitted = make_pipeline(quadratic(["exper"]), ANNClassifier(())).fit(narrow, y)
    effects = average_marginal_effects(
        fitted, narrow, y, features="exper", vcov="classical"
    )
    close(effects.estimate, MROZ_EXPERIENCE[0], 1e-5)


def test_sparse_rows_through_a_scaler():
    X, y = two_units(3, n=400)
    X[np.abs(X) < 0.5] = 0.0
    fitted = make_pipeline(MaxAbsScaler(), ANNRegressor(())).fit(sp.csr_array(X), y)
    effects = average_marginal_effects(fitted, sp.csr_array(X), y)
    dense = average_marginal_effects(ANNRegressor(()).fit(X, y), X, y)
    close(effects.estimate, dense.estimate)
    close(effects.std_error, dense.std_error)


# --------------------------------------------------------------------------- bad input


def test_a_constant_column_has_no_effect():
    X, y = wage1()
    X = X.assign(one=1.0)
    effects = average_marginal_effects(ANNRegressor(()).fit(X, y), X, y)
    assert np.isnan(effects.estimate[3]) and np.isfinite(effects.std_error[:3]).all()
    assert effects.absent[3] == "one is constant" and "one is constant" in str(effects)


def ask(**options):
    X, y = wage1()
    given = {"estimator": LinearRegression().fit(X, y), "X": X, "y": y} | options
    return average_marginal_effects(**given)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"features": "wage"},
            "There is no column 'wage'; the columns are educ, exper",
        ),
        ({"features": [7]}, "There is no column 7"),
        ({"features": []}, "features names no column"),
        ({"features": ["educ", 0]}, "names a column twice"),
        ({"kind": "dydx"}, "kind must be one of auto, slope, contrast, eyex"),
        ({"kind": {"wage": "slope"}}, "kind names 'wage', which is not among"),
        ({"at": "zero"}, "at must be 'overall', 'mean', 'median', or a dict"),
        ({"at": {"wage": 1}}, "There is no column 'wage'"),
        ({"by": [1, 2]}, "one value for each of the 526 rows"),
        ({"target": "odds"}, "target must be one of response, link; got 'odds'"),
        ({"vcov": None}, "vcov must be a word such as 'HC1'; got None"),
        ({"conf_level": 95}, "conf_level must lie between 0 and 1; got 95"),
        ({"n_replicates": 0}, "n_replicates must be a whole number of at least 1"),
        ({"n_seeds": 0}, "n_seeds must be a whole number of at least 1"),
        ({"add_seed_variance": True}, "add_seed_variance=True needs n_seeds"),
        ({"y": np.zeros(3)}, "inconsistent numbers of samples"),
        ({"sample_weight": np.zeros(526)}, "at least one non-zero number"),
        ({"sample_weight": -np.ones(526)}, "Negative values"),
        ({"X": np.zeros(3)}, "X must be a table of rows and columns"),
        ({"X": np.zeros((0, 3))}, "X has no rows"),
        ({"y": np.full(526, np.nan)}, "values that are nan or inf"),
    ],
)
def test_wrong_input_is_told(options, match):
    with pytest.raises(ValueError, match=match):
        ask(**options)


def test_groups_without_weight_are_told():
    X, y = wage1()
    fitted = LinearRegression().fit(X, y)
    first = np.arange(len(X)) < 100
    with pytest.raises(ValueError, match="group True whose rows all have weight zero"):
        average_marginal_effects(fitted, X, y, sample_weight=1.0 - first, by=first)


def test_wrong_columns_are_told():
    X, y = wage1()
    fitted = ANNRegressor(()).fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        average_marginal_effects(fitted, X.drop(columns="educ"), y)
    line = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        average_marginal_effects(line, X[["tenure", "exper", "educ"]], y)


def test_wrong_estimators_are_told():
    X, y = wage1()
    with pytest.raises(NotFittedError):
        average_marginal_effects(ANNRegressor(), X, y)
    with pytest.raises(TypeError, match="Expected a fitted estimator"):
        average_marginal_effects("ols", X, y)
    nested = TransformedTargetRegressor(TransformedTargetRegressor(LinearRegression()))
    with pytest.raises(TypeError, match="one within another"):
        average_marginal_effects(nested.fit(X, y), X, y)


def test_dates_are_refused():
    X, y = wage1()
    X = X.assign(day=pd.date_range("2020-01-01", periods=len(y)))
    fitted = make_pipeline(
        make_column_transformer(("drop", ["day"]), remainder="passthrough"),
        LinearRegression(),
    ).fit(X, y)
    with pytest.raises(ValueError, match="'day' holds dates; there is no effect of a"):
        average_marginal_effects(fitted, X, y)
    assert len(average_marginal_effects(fitted, X, y, features=["educ"]).estimate) == 1


def test_columns_of_labels_of_other_estimators():
    X, y = two_units(0, n=200)
    Y = np.column_stack([y > 0, y > 1]).astype(int)
    forest = RandomForestClassifier(5, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="probabilities of several columns of labels"):
        average_marginal_effects(forest, X, Y)


def test_a_single_class():
    X, _ = wage1()
    fitted = ANNClassifier(()).fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="y has one class only"):
        average_marginal_effects(fitted, X, np.zeros(len(X)), vcov="HC1")


# --------------------------------------------------------------------------- the docs


def test_the_page_prints_what_it_shows():
    check_page("effects")
