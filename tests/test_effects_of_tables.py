"""Effects and their standard errors where the estimator itself encodes its table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sklearn_ann import (
    ANNClassifier,
    ANNRegressor,
    average_marginal_effects,
    average_predictions,
    coefficient_table,
)
from sklearn_ann.design import soft_clip

N = 300
CLOSE = 1e-6  # of estimates and standard errors between two roads to the same fit


def made(gaps=False):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, N),
            "job": rng.choice(["clerk", "cook", "judge"], N),
            "union": rng.choice([True, False], N),
            "tenure": rng.gamma(2, 3, N),
        }
    )
    y = np.tanh((frame["age"] - 40) / 10) + (frame["job"] == "cook") * 1.5
    y = (y - 0.1 * frame["tenure"] + 0.3 * rng.normal(size=N)).to_numpy()
    if gaps:
        # An odd count of numbers that are there: one median for all.
        frame.loc[rng.choice(N, 41, replace=False), "tenure"] = np.nan
    return frame, y


FRAME, Y = made()
GAPS, _ = made(gaps=True)
WEIGHT = np.random.default_rng(1).uniform(0.5, 2, N)
GROUPS = np.arange(N) % 40


def encoder(gaps):
    steps = [(OneHotEncoder(), ["job"])]
    if gaps:
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        steps.append((imputer, ["tenure"]))
    return make_column_transformer(*steps, remainder="passthrough")


def effects(model, frame, y, **options):
    return average_marginal_effects(model, frame, y, **options).to_frame()


def assert_same(ours, theirs):
    keys = ["term", "contrast"]
    theirs = theirs.set_index(keys).loc[list(map(tuple, ours[keys].to_numpy()))]
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=CLOSE, atol=1e-9)
    assert (ours["std_error"] > 0).all()


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("vcov", ["HC1", "HC3", "classical", "cluster"])
@pytest.mark.parametrize("standardize", [True, False])
def test_regressions_are_those_of_a_pipeline(gaps, vcov, standardize):
    frame = GAPS if gaps else FRAME
    options = {"vcov": vcov, "groups": GROUPS if vcov == "cluster" else None}
    ours = ANNRegressor((), standardize=standardize).fit(frame, Y)
    theirs = make_pipeline(encoder(gaps), LinearRegression()).fit(frame, Y)
    assert_same(
        effects(ours, frame, Y, **options), effects(theirs, frame, Y, **options)
    )


def test_weighted_logit():
    y = np.where(Y > 0, "high", "low")
    ours = ANNClassifier(()).fit(FRAME, y, WEIGHT)
    theirs = make_pipeline(encoder(False), ANNClassifier(()))
    theirs.fit(FRAME, y, annclassifier__sample_weight=WEIGHT)
    options = {"sample_weight": WEIGHT, "vcov": "HC1"}
    assert_same(
        effects(ours, FRAME, y, **options), effects(theirs, FRAME, y, **options)
    )


@pytest.mark.parametrize("gaps", [False, True])
def test_networks_are_those_behind_a_design(gaps):
    """The same network on the design's columns, in the units that it has there."""
    frame = GAPS if gaps else FRAME
    options = {
        "hidden_layer_sizes": 2,
        "activation": "tanh",
        "solver": "lbfgs",
        "alpha": 0.5,
        "tol": 1e-9,
        "max_iter": 3000,
        "random_state": 0,
    }
    ours = ANNRegressor(**options).fit(frame, Y)
    design, scaling = ours._model.design, ours._model.targets
    table, y = ours._checked_X(frame), (Y - scaling.mean) / scaling.scale
    plain = ANNRegressor(**options, standardize=False).fit(design.matrix(table), y)
    found = effects(ours, frame, Y, vcov="HC1")
    contrasts = ["cook - clerk", "judge - clerk", "True - False"]
    assert found["contrast"].tolist() == ["dY/dX", *contrasts, "dY/dX"]
    place = design.names(list(frame), ours._coding.levels).index("age")
    raw = effects(plain, design.matrix(table), y, vcov="HC1").iloc[place]
    unit = scaling.scale[0] / design.scaling.scale[0]
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(found[column][0], raw[column] * unit, rtol=1e-5)


def test_slopes_through_the_soft_clip():
    """A regression on clipped numbers has the clip's derivative as its slopes."""
    frame = FRAME[["age", "tenure"]]
    line = ANNRegressor((), standardize="robust").fit(frame, Y)
    design = line._model.design
    z = (frame.to_numpy() - design.scaling.mean) / design.scaling.scale
    # d/dz of z / sqrt(1 + (z/3)^2) is (1 + (z/3)^2)^(-3/2).
    slope = (1 + (z / 3) ** 2) ** -1.5 / design.scaling.scale
    expected = slope.mean(axis=0) * line.coefs_[0][:, 0]
    found = effects(line, frame, Y, vcov="HC1")
    np.testing.assert_allclose(found["estimate"], expected, rtol=1e-7)
    # And the standard errors of OLS on the clipped columns, times that.
    clipped = soft_clip(z, 3.0)
    ols = coefficient_table(
        LinearRegression().fit(clipped, Y), clipped, Y, vcov="HC1"
    ).to_frame()
    np.testing.assert_allclose(
        found["std_error"], ols["std_error"][1:] * slope.mean(axis=0), rtol=CLOSE
    )


def test_contrasts_are_differences_of_predictions():
    network = ANNRegressor(4, n_estimators=2, max_iter=20, random_state=0, tol=0.0)
    network.set_params(standardize="robust", early_stopping=False)
    with pytest.warns(UserWarning, match="max_iter"):
        network.fit(GAPS, Y)
    found = effects(network, GAPS, None).set_index("contrast")
    low, high = (network.predict(GAPS.assign(job=job)) for job in ("clerk", "judge"))
    np.testing.assert_allclose(
        found.loc["judge - clerk", "estimate"], (high - low).mean(), rtol=1e-9
    )
    mean = average_predictions(network, GAPS, None).to_frame()["estimate"]
    np.testing.assert_allclose(mean, network.predict(GAPS).mean(), rtol=1e-9)
    by_level = average_predictions(network, GAPS, features="job").to_frame()
    np.testing.assert_allclose(by_level["estimate"].iloc[2], high.mean(), rtol=1e-9)


def test_numbers_that_are_categories_have_contrasts():
    frame = FRAME.assign(job=FRAME["job"].map({"clerk": 1, "cook": 2, "judge": 5}))
    line = ANNRegressor((), categorical_features=["job"]).fit(frame, Y)
    found = effects(line, frame, Y)
    assert found["contrast"].tolist()[1:3] == ["2 - 1", "5 - 1"]
    text = effects(ANNRegressor(()).fit(FRAME, Y), FRAME, Y)
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(found[column], text[column], rtol=CLOSE)


def test_tables_of_polars():
    ours = ANNRegressor(()).fit(pl.from_pandas(FRAME), Y)
    found = effects(ours, pl.from_pandas(FRAME), Y)
    assert_same(found, effects(ANNRegressor(()).fit(FRAME, Y), FRAME, Y))


def test_behind_a_pipeline_of_other_steps():
    """A transformer that hands a DataFrame on, and the design after it."""
    keep = make_column_transformer(
        ("passthrough", ["job", "age"]), verbose_feature_names_out=False
    ).set_output(transform="pandas")
    pipeline = make_pipeline(keep, ANNRegressor(())).fit(FRAME, Y)
    alone = FRAME[["job", "age"]]
    expected = effects(ANNRegressor(()).fit(alone, Y), alone, Y)
    found = effects(pipeline, FRAME, Y, features=["job", "age"])
    assert_same(found, expected)


def test_coefficients_are_those_of_dummies_and_gaps():
    """Levels alone are not determined beside a constant."""
    ours = ANNRegressor(()).fit(GAPS, Y)
    found = coefficient_table(ours, GAPS, Y).to_frame().set_index("term")
    jobs = [f"job_{job}" for job in ("clerk", "cook", "judge")]
    numbers = ["age", "union", "tenure"]
    assert list(found.index) == [
        "intercept",
        *numbers,
        "missingindicator_tenure",
        *jobs,
    ]
    assert found.loc[["intercept", *jobs], "estimate"].isna().all()
    table = GAPS.assign(
        gap=GAPS["tenure"].isna() * 1.0,
        tenure=GAPS["tenure"].fillna(GAPS["tenure"].median()),
        cook=(GAPS["job"] == "cook") * 1.0,
        judge=(GAPS["job"] == "judge") * 1.0,
    ).drop(columns="job")
    ols = coefficient_table(LinearRegression().fit(table, Y), table, Y).to_frame()
    ols = ols.set_index("term").rename(index={"gap": "missingindicator_tenure"})
    same = [*numbers, "missingindicator_tenure"]
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(
            found.loc[same, column], ols.loc[same, column], rtol=CLOSE
        )
