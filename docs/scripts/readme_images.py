"""Draw the pictures of the README, with the models that its code fits.

Run it from a checkout, with matplotlib: ``python docs/scripts/readme_images.py``.
"""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from sklearn_ann import ANNRegressor
from sklearn_ann.tables import load_wages, make_problem, preprocessing

FOLDER = Path(__file__).parents[1] / "images"
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}


def wages(path: Path) -> None:
    """Log wage by age: the mean prediction with everybody at an age."""
    table = make_problem(load_wages(), target="log_wage")
    network = ANNRegressor(
        hidden_layer_sizes=16,
        activation="tanh",
        solver="lbfgs",
        alpha=30,
        early_stopping=False,
        linear_skip=False,
        n_estimators=1,
        random_state=0,
    )
    ages = pd.Index(range(18, 81), name="age")
    curves = {}
    for name, model in {"OLS": LinearRegression(), "network": network}.items():
        model = make_pipeline(preprocessing(table.X), model).fit(table.X, table.y)
        means = [model.predict(table.X.assign(age=age)).mean() for age in ages]
        curves[name] = pd.Series(means, ages)
    # What is left of the wage beyond the other columns, as the network sees them.
    left = pd.Series(table.y - model.predict(table.X)).groupby(table.X["age"]).mean()
    points = curves["network"] + left
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2), dpi=120, layout="constrained")
        axis = figure.subplots()
        axis.plot(points, ".", color="0.7", label="data, other columns held")
        for (name, curve), style in zip(curves.items(), ("k--", "C1-"), strict=True):
            axis.plot(curve, style, label=name)
        axis.set(xlabel="age", ylabel="log wage", ylim=(4.3, 4.9))
        axis.legend(frameon=False, loc="lower center", ncols=3)
        figure.savefig(path)


IMAGES = {"wages.png": wages}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in IMAGES.items():
        draw(FOLDER / name)
