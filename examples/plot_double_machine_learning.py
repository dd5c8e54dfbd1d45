"""
A causal effect, with networks for the rest
===========================================

A regression of wages on health insurance has to control for age, education and the
rest, and if it controls for them in the wrong form, the effect is wrong. *Double
machine learning* (Chernozhukov et al. 2018) learns the controls' part by any method:
predict the outcome and the treatment from the controls on rows that were left out, and
regress what remains of one on what remains of the other. This example uses OLS and
networks as learners, in DoubleML.

The data are the wages that come with the package.
"""

# %%
# A known effect first
# --------------------
# Whether a method works cannot be seen on data whose truth nobody knows. So keep the
# men, their columns and how they go together, and plant an effect: a treatment that is
# more likely in the middle of a career, and an outcome that depends on it by .2 and on
# age by a curve.

import doubleml
import numpy as np
import pandas as pd

from sklearn_ann import ANNClassifier, ANNRegressor, batched_fits
from sklearn_ann.tables import load_wages, make_problem, preprocessing

wages = load_wages()
problem = make_problem(wages, target="log_wage")
controls = problem.X.drop(columns="health_insurance")
table = pd.DataFrame(preprocessing(controls).fit_transform(controls))
table.columns = [f"x{j}" for j in range(table.shape[1])]

TRUTH = 0.2
rng = np.random.default_rng(0)
middle = np.exp(-(((wages["age"] - 45) / 12) ** 2)).to_numpy()
treated = rng.uniform(size=len(table)) < 0.2 + 0.6 * middle
outcome = TRUTH * treated + middle + rng.normal(0, 0.3, len(table))

# %%
# The learners
# ------------
# OLS and logit, which are networks without hidden layer, and networks of eight smooth
# units beside a linear part, with a weaker and a stronger penalty: a weight decay of
# .01, as in the other examples, and of .05.

settings = {
    "hidden_layer_sizes": 8,
    "activation": "tanh",
    "solver": "lbfgs",
    "linear_skip": True,
    "max_iter": 1000,
    "early_stopping": False,
    "n_estimators": 1,
    "random_state": 0,
}
n_training = len(table) * 4 / 5  # of five folds
choices = {
    "OLS and logit": {"hidden_layer_sizes": ()},
    "networks, decay .01": {**settings, "alpha": 0.01 * n_training},
    "networks, decay .05": {**settings, "alpha": 0.05 * n_training},
}
learners = {
    name: (ANNRegressor(**choice), ANNClassifier(**choice))
    for name, choice in choices.items()
}


def effects(outcome, treated):
    """Effect of a partially linear model, and how its learners predict, by learner."""
    data = doubleml.DoubleMLData.from_arrays(
        table.to_numpy(), outcome, treated.astype(float)
    )
    rows = {}
    for name, (regression, classes) in learners.items():
        np.random.seed(0)  # noqa: NPY002 - DoubleML's folds come from there
        with batched_fits():
            model = doubleml.DoubleMLPLR(data, ml_l=regression, ml_m=classes).fit()
        rows[name] = {
            "effect": model.coef[0],
            "std. error": model.se[0],
            "RMSE of outcome": np.ravel(model.nuisance_loss["ml_l"])[0],
            "log loss of treatment": np.ravel(model.nuisance_loss["ml_m"])[0],
        }
    return pd.DataFrame(rows).T


known = effects(outcome, treated)
print(f"the effect is {TRUTH}")
known.round(3)

# %%
# OLS takes what age does in its curve for an effect of the treatment, and is sure of
# it: it is wrong by many of its standard errors. The networks with the weaker penalty
# learn the curve and find the effect. Those with the stronger penalty do not bend, and
# are as wrong as OLS.
#
# The last two columns tell, without knowing the truth: they say how well outcome and
# treatment were predicted on rows that were left out. A learner is chosen by them,
# never by the effect that it gives. More on the choice: :doc:`/causal`.
#
# Then the real question
# ----------------------
# What is it that goes with health insurance, given the rest? Here all agree, within
# their errors, which is a result too: what OLS misses about age does not matter for
# this effect. Whether it is a *causal* effect depends on what is not in the table, such
# as the firm, and no learner changes that.

insured = (wages["health_insurance"] == "yes").to_numpy()
real = effects(problem.y, insured)
real.round(3)

# %%

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.8), sharey=True)
titles = ("Planted effect", "Health insurance, on the log wage")
for axis, found, title in zip(axes, (known, real), titles, strict=True):
    places = np.arange(len(found))[::-1]
    half = 1.96 * found["std. error"]
    axis.errorbar(found["effect"], places, xerr=half, fmt="ko", capsize=4)
    axis.set_yticks(places, found.index)
    axis.set(title=title, ylim=(-0.6, 2.6), xlabel="effect, 95% interval")
axes[0].axvline(TRUTH, color="C1", ls="--", label="truth")
axes[0].legend(loc="upper center")
figure.tight_layout()
