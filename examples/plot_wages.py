"""
Wages: OLS beside a network
===========================

The whole way of an application: is there anything for a network to find, does it
predict better, how much better, and what does it say that OLS does not?

The data are the wages of 3000 men in the Middle Atlantic region, 2003 to 2009, from the
Current Population Survey. They come with the package.
"""

# %%
# The table
# ---------

from sklearn_ann.tables import load_wages, make_problem, preprocessing

wages = make_problem(load_wages(), target="log_wage")
wages.X.head()

# %%
# Is there anything to find?
# --------------------------
# OLS has a column for age, so the wage rises by the same share every year. White's test
# adds hidden units with random weights and asks whether they explain what OLS leaves
# over.

from sklearn_ann import neglected_nonlinearity_test

test = neglected_nonlinearity_test(
    wages.X[["year", "age"]], wages.y, n_draws=10, random_state=0
)
print(f"distribution F{test.df}, p-value below .001: {test.p_value < 0.001}")

# %%
# Who predicts better?
# --------------------
# Three models on the same folds: OLS; OLS with the square of age, as an economist would
# write it; a network. Its penalty follows a rule, a hundredth of the rows, and was not
# chosen by these scores.

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sklearn_ann import ANNRegressor, compare

network = ANNRegressor(
    hidden_layer_sizes=8,
    activation="tanh",
    solver="lbfgs",
    alpha=len(wages.y) / 100,
    tol=1e-6,
    max_iter=5000,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
    random_state=0,
)
square = PolynomialFeatures(2, include_bias=False)
with_square = ColumnTransformer(
    [("square", square, ["age"]), ("rest", preprocessing(wages.X), list(wages.X))]
)
models = {
    "OLS": make_pipeline(preprocessing(wages.X), LinearRegression()),
    "OLS, age squared": make_pipeline(with_square, LinearRegression()),
    "network": make_pipeline(preprocessing(wages.X), network),
}
result = compare(models, wages.X, wages.y, cv=5)
print(result)

# %%
# The intervals of the scores overlap, those of the differences leave no doubt: all
# models were tested on the same rows.

import matplotlib.pyplot as plt

from sklearn_ann.plotting import ComparisonDisplay, MarginalEffectsDisplay

figure, axes = plt.subplots(2, 1, figsize=(7, 5))
for axis, kind in zip(axes, ("score", "difference"), strict=True):
    ComparisonDisplay.from_comparison(result, metric="R2", kind=kind, ax=axis)
figure.tight_layout()

# %%
# The network is better than OLS without having been told about age. OLS with the square
# is better still: who knows the form should use it, and the network is there to say
# that a form is missing.
#
# What does it say?
# -----------------
# Average effects of the raw columns, through the dummies and the scaling, with robust
# standard errors, of both models.

from sklearn_ann import average_marginal_effects

columns = ["year", "age", "health", "health_insurance", "job_class"]
fitted = {name: model.fit(wages.X, wages.y) for name, model in models.items()}
effects = {
    name: average_marginal_effects(model, wages.X, wages.y, features=columns)
    for name, model in fitted.items()
    if name != "OLS, age squared"
}
print(effects["network"])

# %%
# An average hides what a network is for. The predicted wage by age, for two levels of
# education, with the other columns as they are in the data: each curve is an average
# over the 3000 men, with age and education set to the given values.

ages = np.arange(18, 81, 3)
educations = ["high school", "advanced degree"]


def profile(model, education):
    """Mean prediction with everybody at an age and a level of education."""
    return [
        model.predict(wages.X.assign(age=age, education=education)).mean()
        for age in ages
    ]


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
styles = {"OLS": "k:", "OLS, age squared": "C0--", "network": "C1-"}
for name, style in styles.items():
    for education in educations:
        label = name if education == educations[0] else None
        left.plot(ages, profile(fitted[name], education), style, label=label)
for education, height in zip(educations, (4.47, 4.84), strict=True):
    place = (80, height)
    left.annotate(education.replace(" ", "\n"), place, annotation_clip=False)
left.set(title="Log wage by age", xlabel="age", ylim=(4.1, 5.02))
left.legend(loc="lower right", fontsize="small")

MarginalEffectsDisplay.from_result(effects, ax=right)
figure.tight_layout()
