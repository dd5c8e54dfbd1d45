"""Our estimators as learners of nuisance functions: DoubleML, EconML, and by hand.

By hand is what these packages do with a learner, in a few lines; it runs where they are
not installed, and their answers are compared with it.
"""

import importlib.util
import warnings

import numpy as np
import pandas as pd
import pytest
from pages import blocks, check_page
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits
from tests import causal_study as study

SETTINGS = {
    "hidden_layer_sizes": 4,
    "activation": "tanh",
    "solver": "lbfgs",
    "linear_skip": True,
    "alpha": 20,
    "max_iter": 1000,
    "random_state": 0,
}
REGRESSION, CLASSES = ANNRegressor(**SETTINGS), ANNClassifier(**SETTINGS)
N, EFFECT = 500, 1.0


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install sklearn-ann[causal]",
    )


@pytest.fixture(scope="module")
def data():
    """Outcomes y that every treatment here raises by 1, beside a curved confounder."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    confounder = np.sin(X[:, 0]) + X[:, 1] / 2
    unseen, noise = rng.normal(size=(2, N))
    instrument = X[:, 0] + rng.normal(size=N)
    offered = (rng.uniform(size=N) < expit(X[:, 0])).astype(float)
    treatments = {
        "continuous": confounder + rng.normal(size=N),
        "binary": (rng.uniform(size=N) < expit(confounder)).astype(float),
        "three-valued": rng.binomial(2, expit(confounder)).astype(float),
        "instrumented": instrument + X[:, 1] + unseen,
        "taken up": (2 * offered - 1 + unseen > 0).astype(float),
    }
    outcomes = {
        name: EFFECT * d
        + confounder
        + noise
        + ("inst" in name or "up" in name) * unseen
        for name, d in treatments.items()
    }
    instruments = {"instrumented": instrument, "taken up": offered}
    return X, outcomes, treatments, instruments


# ----------------------------------------------------------------------- the contract


def test_a_regressor_predicts_one_dimension_from_any_shape_of_y(data):
    X, outcomes, *_ = data
    y = outcomes["continuous"]
    flat = clone(REGRESSION).fit(X, y).predict(X)
    column = clone(REGRESSION).fit(X, y[:, None]).predict(X)
    assert flat.shape == (N,)
    assert flat.dtype == np.float64
    np.testing.assert_array_equal(flat, column)


def test_a_regressor_offers_no_probabilities():
    assert not hasattr(REGRESSION, "predict_proba")


@pytest.mark.parametrize(("name", "levels"), [("binary", 2), ("three-valued", 3)])
def test_probabilities_beyond_the_first_class_are_a_matrix(data, name, levels):
    X, _, treatments, _ = data
    for labels in (treatments[name], treatments[name].astype(int)):
        shares = clone(CLASSES).fit(X, labels).predict_proba(X)[:, 1:]
        assert shares.shape == (N, levels - 1)
        assert ((shares > 0) & (shares < 1)).all()


def test_a_learner_is_cloned_and_left_alone(data):
    X, outcomes, *_ = data
    before = {**vars(REGRESSION)}
    cross_val_predict(REGRESSION, X, outcomes["continuous"], cv=2)
    assert vars(REGRESSION) == before
    assert clone(REGRESSION).get_params() == REGRESSION.get_params()


def test_weights_carry_the_final_stage_of_the_r_learner(data):
    """NonParamDML regresses ratios of residuals with squared residuals as weights."""
    X, outcomes, treatments, _ = data
    r_y, r_d = residuals(X, outcomes["continuous"], treatments["continuous"], folds())
    effect = clone(REGRESSION).fit(X, r_y / r_d, sample_weight=r_d**2).predict(X)
    assert effect.mean() == pytest.approx(EFFECT, abs=0.2)
    unweighted = clone(REGRESSION).fit(X, r_y / r_d).predict(X)
    assert abs(unweighted.mean() - EFFECT) > abs(effect.mean() - EFFECT)


# ---------------------------------------------------------------------------- by hand


def folds(labels=None):
    if labels is None:
        return list(KFold(5, shuffle=True, random_state=0).split(np.empty((N, 1))))
    splitter = StratifiedKFold(5, shuffle=True, random_state=0)
    return list(splitter.split(np.empty((N, 1)), labels))


def residuals(X, y, d, cv):
    return [t - cross_val_predict(REGRESSION, X, t, cv=cv) for t in (y, d)]


def partialled_out(X, y, d, cv):
    """Robinson (1988): residuals on residuals; the estimate and its standard error."""
    r_y, r_d = residuals(X, y, d, cv)
    effect = r_d @ r_y / (r_d @ r_d)
    psi = r_d * (r_y - effect * r_d) / np.mean(r_d**2)
    return effect, np.sqrt(np.mean(psi**2) / N)


def doubly_robust(X, y, d, cv):
    """Robins, Rotnitzky and Zhao (1994), cross-fitted."""
    share = np.empty(N)
    means = np.empty((2, N))
    for fit, rest in cv:
        share[rest] = clone(CLASSES).fit(X[fit], d[fit]).predict_proba(X[rest])[:, 1]
        for level in (0, 1):
            rows = fit[d[fit] == level]
            means[level, rest] = (
                clone(REGRESSION).fit(X[rows], y[rows]).predict(X[rest])
            )
    weight = d / share - (1 - d) / (1 - share)
    psi = means[1] - means[0] + weight * (y - np.where(d == 1, means[1], means[0]))
    return psi.mean(), psi.std() / np.sqrt(N)


HANDS = {"continuous": partialled_out, "binary": doubly_robust}


@pytest.mark.parametrize("name", HANDS)
def test_by_hand(data, name):
    X, outcomes, treatments, _ = data
    effect, error = HANDS[name](X, outcomes[name], treatments[name], folds())
    assert 0.02 < error < 0.15
    assert abs(effect - EFFECT) < 3 * error


# --------------------------------------------------------------------------- DoubleML

LEARNERS = {"ml_l": REGRESSION, "ml_m": REGRESSION}
DOUBLE_ML = {
    "PLR": ("DoubleMLPLR", "continuous", LEARNERS),
    "PLR, IV-type": (
        "DoubleMLPLR",
        "continuous",
        {**LEARNERS, "ml_g": REGRESSION, "score": "IV-type"},
    ),
    "PLR, binary": ("DoubleMLPLR", "binary", {"ml_l": REGRESSION, "ml_m": CLASSES}),
    "IRM": ("DoubleMLIRM", "binary", {"ml_g": REGRESSION, "ml_m": CLASSES}),
    "IRM, ATTE": (
        "DoubleMLIRM",
        "binary",
        {"ml_g": REGRESSION, "ml_m": CLASSES, "score": "ATTE"},
    ),
    "PLIV": ("DoubleMLPLIV", "instrumented", {**LEARNERS, "ml_r": REGRESSION}),
    "IIVM": (
        "DoubleMLIIVM",
        "taken up",
        {"ml_g": REGRESSION, "ml_m": CLASSES, "ml_r": CLASSES},
    ),
}


def double_ml(data, name):
    import doubleml

    kind, treatment, options = DOUBLE_ML[name]
    X, outcomes, treatments, instruments = data
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    table["y"], table["d"] = outcomes[treatment], treatments[treatment]
    columns = {"y_col": "y", "d_cols": "d", "x_cols": ["a", "b", "c"]}
    if treatment in instruments:
        table["z"], columns["z_cols"] = instruments[treatment], "z"
    model = getattr(doubleml, kind)(
        doubleml.DoubleMLData(table, **columns), **options, draw_sample_splitting=False
    )
    return model.set_sample_splitting([folds()]).fit()


@needs("doubleml")
@pytest.mark.parametrize("name", DOUBLE_ML)
def test_double_ml(data, name):
    model = double_ml(data, name)
    (effect,), (error,) = model.coef, model.se
    assert 0.02 < error < 0.25
    assert abs(effect - EFFECT) < 3 * error


@needs("doubleml")
@pytest.mark.parametrize(
    ("name", "treatment"), [("PLR", "continuous"), ("IRM", "binary")]
)
def test_double_ml_is_what_is_done_by_hand(data, name, treatment):
    X, outcomes, treatments, _ = data
    model = double_ml(data, name)
    hand = HANDS[treatment](X, outcomes[treatment], treatments[treatment], folds())
    np.testing.assert_allclose([model.coef[0], model.se[0]], hand, rtol=1e-9)


@needs("doubleml")
def test_double_ml_takes_binary_outcomes(data):
    import doubleml

    X, outcomes, treatments, _ = data
    d = treatments["binary"]
    y = (outcomes["binary"] > 1).astype(float)
    table = doubleml.DoubleMLData.from_arrays(X, y, d)
    model = doubleml.DoubleMLIRM(table, CLASSES, CLASSES, draw_sample_splitting=False)
    model.set_sample_splitting([folds()]).fit()
    assert 0.1 < model.coef[0] < 0.4


@needs("doubleml")
def test_double_ml_inside_batched_fits(data):
    alone = [double_ml(data, name) for name in ("PLR", "IRM")]
    with batched_fits():
        stacked = [double_ml(data, name) for name in ("PLR", "IRM")]
    for one, other in zip(alone, stacked, strict=True):
        # L-BFGS keeps stack and single alike for some fifty iterations, not for ever.
        np.testing.assert_allclose(other.coef, one.coef, atol=1e-2 * one.se[0])


# ----------------------------------------------------------------------------- EconML


def econ_ml(data, name, treatment, shape):
    from econml.dml import LinearDML, NonParamDML
    from econml.dr import DRLearner

    X, outcomes, treatments, _ = data
    discrete = treatment != "continuous"
    options = {"cv": folds(treatments[treatment] if discrete else None)}
    y, d = outcomes[treatment].reshape(shape), treatments[treatment].reshape(shape)
    first = CLASSES if discrete else REGRESSION
    if name == "DRLearner":
        model = DRLearner(
            model_propensity=CLASSES,
            model_regression=REGRESSION,
            model_final=REGRESSION,
            **options,
        )
    else:
        kind = {"LinearDML": LinearDML, "NonParamDML": NonParamDML}[name]
        final = {"model_final": REGRESSION} if name == "NonParamDML" else {}
        options["discrete_treatment"] = discrete
        model = kind(model_y=REGRESSION, model_t=first, **final, **options)
    return model.fit(y, d, X=X[:, :1], W=X[:, 1:])


ECON_ML = [
    ("LinearDML", "continuous"),
    ("LinearDML", "binary"),
    ("LinearDML", "three-valued"),
    ("NonParamDML", "continuous"),
    ("NonParamDML", "binary"),
    ("DRLearner", "binary"),
    ("DRLearner", "three-valued"),
]


@needs("econml")
@pytest.mark.parametrize(("name", "treatment"), ECON_ML)
def test_econ_ml(data, name, treatment):
    X = data[0][:, :1]
    model = econ_ml(data, name, treatment, (-1,))
    effects = model.effect(X)
    assert effects.shape == (N,)
    assert effects.mean() == pytest.approx(EFFECT, abs=0.35)


@needs("econml")
@pytest.mark.parametrize(("name", "treatment"), ECON_ML)
def test_econ_ml_with_columns(data, name, treatment):
    """Outcome and treatment as tables of one column, as pandas users give them."""
    X = data[0][:, :1]
    flat, column = (econ_ml(data, name, treatment, s) for s in ((-1,), (-1, 1)))
    np.testing.assert_allclose(
        np.ravel(column.effect(X)), np.ravel(flat.effect(X)), rtol=1e-9
    )


@needs("econml")
def test_econ_ml_linear_effect_is_a_regression_of_residuals(data):
    X, outcomes, treatments, _ = data
    y, d = outcomes["continuous"], treatments["continuous"]
    model = econ_ml(data, "LinearDML", "continuous", (-1,))
    # EconML puts X before W, as they are in our table.
    r_y, r_d = residuals(X, y, d, folds())
    design = r_d[:, None] * np.column_stack([np.ones(N), X[:, 0]])
    intercept, slope = np.linalg.lstsq(design, r_y, rcond=None)[0]
    assert float(model.intercept_) == pytest.approx(intercept, rel=1e-8)
    assert float(np.ravel(model.coef_)[0]) == pytest.approx(slope, rel=1e-8)


# ----------------------------------------------------------------- docs and simulation


@needs("doubleml")
@needs("econml")
def test_the_page_prints_what_it_shows():
    check_page("causal")


def test_the_page_recommends_what_is_simulated():
    names = {}
    exec(compile(blocks("causal")[0][0], "causal.md", "exec"), names)
    assert names["n_training"] == study.N_TRAINING
    assert names["regression"].get_params() == study.RECOMMENDED.get_params()
    assert names["classes"].get_params()["alpha"] == study.RECOMMENDED.alpha


@needs("doubleml")
def test_the_study_leaves_the_global_generator_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    first, again = study.sample(0), study.sample(0)
    assert np.random.uniform() == expected  # noqa: NPY002
    assert first.shape == (study.N_ROWS, study.N_COLUMNS + 2)
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(study.sample(1))


@needs("doubleml")
def test_the_study_knows_what_it_measures():
    """Where the learners are perfect up to OLS's own noise, so is their error small."""
    data = study.sample(0)
    noise = data["d"] - study.expected_treatment(data)
    assert noise.var() == pytest.approx(1.0, abs=0.15)
    found = study.estimates(study.LEARNERS["OLS"], 3)
    assert found.effect.shape == found.std_error.shape == (3,)
    assert (found.treatment_error < 0.1).all()


@pytest.mark.slow
@needs("doubleml")
def test_effects_are_centred_and_their_intervals_cover():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = study.estimates(study.LEARNERS["network, as recommended"], 200)
    assert found.effect.shape == (200,)
    assert found.bias_over_std_error < 1 / 3
    assert found.coverage >= 0.91
