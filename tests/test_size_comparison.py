"""`compare_sizes`: the table of hidden units, against loops and by its rules."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor, compare_sizes

pytestmark = pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
NETWORK = ANNRegressor(activation="tanh", solver="lbfgs", max_iter=15)


def polynomial(n=1000, seed=0):
    """The function of the lecture: y = x^5 - 2x^3 + 6x^2 + 10x - 5 on U(0, 1)."""
    x = np.random.default_rng(seed).uniform(size=n)
    return x[:, None], x**5 - 2 * x**3 + 6 * x**2 + 10 * x - 5


@pytest.fixture(scope="module")
def sizes():
    return compare_sizes(NETWORK, *polynomial(200), [0, 2, 5], n_seeds=3)


def test_losses_are_those_of_a_loop_over_sizes_and_seeds(sizes):
    X, y = polynomial(200)
    split = ShuffleSplit(1, test_size=0.25, random_state=0)
    train, test = next(split.split(X))
    frame = sizes.to_frame()
    for units in (2, 5):
        losses = []
        for seed in range(3):
            model = NETWORK.set_params(hidden_layer_sizes=units, random_state=seed)
            model.fit(X[train], y[train])
            losses.append(
                [
                    mean_squared_error(y[rows], model.predict(X[rows]))
                    for rows in (train, test)
                ]
            )
        row = frame.loc[str(units)]
        expected = [*np.min(losses, axis=0), *np.median(losses, axis=0)]
        columns = ["train_min", "test_min", "train_median", "test_median"]
        np.testing.assert_allclose(row[columns], expected, rtol=1e-4)
        assert row["parameters"] == 3 * units + 1
        assert row["seconds"] > 0


def test_no_units_are_a_regression(sizes):
    X, y = polynomial(200)
    train, test = next(ShuffleSplit(1, test_size=0.25, random_state=0).split(X))
    ols = LinearRegression().fit(X[train], y[train])
    expected = mean_squared_error(y[test], ols.predict(X[test]))
    row = sizes.to_frame().loc["0"]
    assert row["test_min"] == pytest.approx(expected, rel=1e-9)
    assert row["test_median"] == pytest.approx(expected, rel=1e-9)
    assert row["parameters"] == 2


def test_more_units_approximate_better():
    """Trained to the end: the best of three seeds falls with the units."""
    x = np.random.default_rng(0).uniform(size=(200, 1))
    network = ANNRegressor(activation="tanh", solver="lbfgs", alpha=0, max_iter=500)
    result = compare_sizes(network, x, np.sin(12 * x[:, 0]), [0, 1, 2, 6], n_seeds=3)
    losses = result.to_frame()["test_min"]
    assert (losses.diff().dropna() < 0).all()
    assert losses["6"] < losses["0"] / 1000


def test_the_table_for_a_class(sizes):
    text = str(sizes)
    flat = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("MSE by hidden units\n")
    for word in ("units", "parameters", "train min", "test median", "seconds"):
        assert word in flat
    assert "the 150 rows fitted to; test: 50 others" in flat
    assert "over 3 seeds" in flat
    assert "All else is fixed: ANNRegressor(" in flat
    assert sizes.to_latex().count(r"\\") == 4
    assert "| 5 |" in sizes.to_markdown()
    assert sizes._repr_html_().count("<tr>") == 4
    assert sizes.table().to_frame().equals(sizes.to_frame())


def test_settings_are_those_of_the_fits_whatever_comes_after():
    X, y = polynomial(60)
    network = ANNRegressor(activation="tanh", solver="lbfgs", max_iter=15)
    result = compare_sizes(network, X, y, [2], n_seeds=1)
    network.set_params(solver="adam")
    assert "solver='lbfgs'" in " ".join(str(result).split())


def test_several_layers_pipelines_and_other_networks():
    X, y = polynomial(100)
    piped = make_pipeline(StandardScaler(), NETWORK)
    frame = compare_sizes(piped, X, y, [3, (3, 2)], n_seeds=1).to_frame()
    assert list(frame.index) == ["3", "3, 2"]
    assert list(frame["parameters"]) == [10, 6 + 8 + 3]
    mlp = MLPRegressor(solver="lbfgs", max_iter=1000)
    assert len(compare_sizes(mlp, X, y, [2], n_seeds=2).to_frame()) == 1


def test_classifiers_are_compared_by_log_loss():
    X, y = polynomial(120)
    labels = np.where(y > np.median(y), "high", "low")
    network = ANNClassifier(activation="tanh", solver="lbfgs", alpha=0.1, max_iter=15)
    result = compare_sizes(network, X, labels, [2], n_seeds=1)
    assert result.comparison.metrics[0].name == "log loss"
    assert 0 < result.to_frame().at["2", "test_min"] < log_loss([0, 1], [0.5, 0.5])


def test_folds_instead_of_one_split():
    X, y = polynomial(90)
    result = compare_sizes(NETWORK, X, y, [2], cv=3, n_seeds=2)
    assert result.comparison.seed_scores[0].shape == (2, 1, 3)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([], "at least one size"),
        ([3, (3,)], "none twice"),
        ([-1], "positive whole numbers"),
        ([2.5], "positive whole numbers"),
        ([True], "positive whole numbers"),
        ([(3, 0)], "positive whole numbers"),
    ],
)
def test_units_that_are_none(units, message):
    with pytest.raises(ValueError, match=message):
        compare_sizes(NETWORK, *polynomial(50), units)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (LinearRegression(), "which has none"),
        (
            make_pipeline(GridSearchCV(NETWORK, {"alpha": [1]}), NETWORK),
            "gridsearchcv__estimator__hidden_layer_sizes",
        ),
    ],
)
def test_models_without_one_size(network, message):
    with pytest.raises(TypeError, match=message):
        compare_sizes(network, *polynomial(50))
