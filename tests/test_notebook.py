"""What notebooks show of an estimator: scikit-learn's diagram, and what was fitted."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fitted_estimators import OURS, TABLE, X, Y
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_ann import ANNClassifier, ANNRegressor

OWN = '<div class="sklearn-ann-fitted"'
SMALL = {"solver": "lbfgs", "max_iter": 3, "n_estimators": 1, "random_state": 0}


def fitted(estimator, X=X, y=Y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


class Table(HTMLParser):
    """Rows of the table, and the tags that are open at the end."""

    def __init__(self, page):
        super().__init__()
        self.cells, self.open, self.tags = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.open.append(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.cells[-1] += data


def shown(estimator):
    """The table below the diagram, as a dict."""
    page = estimator._repr_html_()
    table = Table(page[page.index(OWN) :])
    assert not table.open
    names, values = table.cells[::2], table.cells[1::2]
    return dict(zip(names, values, strict=True))


def test_the_diagram_is_scikit_learns():
    network = fitted(ANNRegressor(4, **SMALL))
    page, _ = network._repr_html_().split(OWN)
    theirs = estimator_html_repr(network)

    def unnumbered(text):
        return re.sub(r"sk-(container|estimator)-id-\d+", "", text)

    assert unnumbered(page) == unnumbered(theirs)
    assert "Parameters" in page
    assert network._repr_mimebundle_()["text/html"].count(OWN) == 1


def test_architecture_and_training():
    network = fitted(ANNRegressor((4, 3), "tanh", linear_skip=True, **SMALL))
    table = shown(network)
    assert table["Network"] == "3 inputs → 4 tanh → 3 tanh → 1 output; linear skip"
    assert table["Parameters"] == str(network.n_parameters_)
    assert table["Status"] == "reached max_iter"
    assert table["Training"] == "3 iterations over 60 rows"
    assert table["Loss in training"] == f"{network.loss_:.4g}"
    assert table["Solver"].startswith("lbfgs, all rows in every step, alpha ")
    assert table["Run on"].startswith("cpu, float64, ")
    assert "Held-out rows" not in table


def test_a_regression_says_that_it_is_one():
    table = shown(fitted(ANNRegressor(())))
    assert table["Network"] == ("3 inputs → 1 output; no hidden layer: a regression")


def test_an_ensemble_and_its_held_out_rows():
    network = fitted(
        ANNRegressor(
            4,
            solver="adam",
            max_iter=5,
            early_stopping=True,
            n_estimators=3,
            linear_skip=False,
            batch_size=10,
            random_state=0,
        )
    )
    table = shown(network)
    losses = [-member.best_validation_score_ for member in network.estimators_]
    assert table["Held-out rows"] == (
        f"lowest loss {min(losses):.4g} to {max(losses):.4g} by member"
    )
    assert table["Parameters"] == (
        f"{network.n_parameters_} in 3 networks, whose predictions are averaged"
    )
    assert table["Training"] == "5 epochs over 51 rows"
    assert "batches of 10" in table["Solver"]
    page = network._repr_html_()
    assert page.count("<polyline") == 3


def test_a_score_and_a_table():
    network = fitted(
        ANNRegressor(
            4,
            solver="adam",
            max_iter=5,
            early_stopping=True,
            scoring="r2",
            n_estimators=1,
            random_state=0,
        ),
        TABLE,
        Y,
    )
    table = shown(network)
    assert table["Held-out rows"] == f"best score {network.best_validation_score_:.4g}"
    inputs = network._model.architecture.n_inputs
    assert table["Network"].startswith(f"6 columns as {inputs} inputs → ")
    assert table["Inputs"].endswith("firm, year, union (3 columns of categories)")


def test_batches_of_several_sizes():
    network = ANNRegressor(4, solver="adam", n_estimators=1, random_state=0)
    network.partial_fit(X[:20], Y[:20]).partial_fit(X[20:27], Y[20:27])
    assert shown(network)["Training"] == "2 epochs; 27 rows seen in all"


def test_nothing_of_the_data_is_read_as_html():
    evil = "<script>alert(1)</script>"
    frame = TABLE[["age", "hours"]].fillna(0.0).set_axis([evil, "b&b"], axis=1)
    labels = np.where(Y > 0, f"{evil} yes", "'\"><img src=x>")
    network = fitted(ANNClassifier(3, **SMALL), frame, labels)
    page = network._repr_html_()
    # scikit-learn's own part has a script and a style of its own; ours has neither.
    own = page[page.index(OWN) :]
    assert Table(own).tags <= {
        "div",
        "table",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "polyline",
        "text",
    }
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)", "", page)
    table = shown(network)
    assert table["Inputs"] == f"{evil}, b&b"
    assert table["Outputs"] == f"'\"><img src=x>, {evil} yes"


def test_many_long_names_are_cut():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(30, 500))
    wide = pd.DataFrame(wide, columns=[f"{'long ' * 20}{j}" for j in range(500)])
    network = fitted(ANNRegressor((2,) * 12, **SMALL), wide, wide.iloc[:, 0])
    table = shown(network)
    assert len(table["Inputs"]) < 200
    assert "496 more" in table["Inputs"]
    assert "8 more" in table["Network"]


def test_not_fitted_there_is_the_diagram_alone():
    page = ANNRegressor()._repr_html_()
    assert OWN not in page
    assert "ANNRegressor" in page


def test_pipelines_and_searches_keep_their_diagram():
    pipeline = fitted(make_pipeline(StandardScaler(), ANNRegressor(2, **SMALL)))
    search = fitted(GridSearchCV(ANNRegressor(2, **SMALL), {"alpha": [1, 2]}, cv=2))
    for outer in (pipeline, search):
        page = outer._repr_html_()
        assert OWN not in page
        assert "ANNRegressor" in page
    assert OWN in search.best_estimator_._repr_html_()


def test_scikit_learns_switch_holds():
    with config_context(display="text"):
        assert not hasattr(ANNRegressor(), "_repr_html_")


@pytest.mark.parametrize("name", [name for name in OURS if name != "conformal"])
def test_every_fitted_estimator_can_be_shown(name):
    estimator, X, y = OURS[name]
    table = shown(fitted(clone(estimator), X, y))
    assert table["Status"]
    assert {"Network", "Loss", "Parameters", "Training", "Run on"} <= {*table}
