"""
Softmax is the multinomial logit
================================

With several classes a network has one output for each, and *softmax* turns them into
probabilities: exponentials, divided by their sum. That is the formula of the
multinomial logit. Without hidden layer the two are the same model; the only difference
is what is held fixed.

The data are those of the American National Election Study of 1996 (Fox and Andersen):
944 voters, and their party identification in seven steps, from strong Democrat (0) to
strong Republican (6).
"""

# %%
# Two estimates of one model
# --------------------------

import numpy as np
import pandas as pd
from statsmodels.api import MNLogit, add_constant
from statsmodels.datasets import anes96

from sklearn_ann import ANNClassifier

voters = anes96.load_pandas()
X, y = voters.exog.drop(columns="selfLR"), voters.endog.astype(int)
X = X.rename(columns={"logpopul": "log of town size"})
theirs = MNLogit(y, add_constant(X)).fit(disp=0, tol=1e-12, maxiter=100)
softmax = ANNClassifier(hidden_layer_sizes=()).fit(X, y)
print("classes, inputs:", softmax.coef_.shape)
print(f"log-likelihood {-softmax.loss_ * len(y):.6f}, and {theirs.llf:.6f}")
gap = np.abs(softmax.predict_proba(X) - theirs.predict()).max()
print(f"largest difference between probabilities {gap:.0e}")

# %%
# Same probabilities, other coefficients: softmax has seven sets of them, multinomial
# logit six, because adding the same number to all seven indices changes no probability.
# statsmodels sets those of class 0 to zero; a network leaves the freedom, and training
# ends where the seven sum to zero. Subtract the base class, and they agree:

against_base = softmax.coef_[1:] - softmax.coef_[0]
both = {"network": against_base[:, 0], "MNLogit": theirs.params.iloc[1].to_numpy()}
pd.DataFrame(both, index=pd.Index(softmax.classes_[1:], name="class")).round(6)

# %%
# ``coefficient_table`` does this, with the standard errors that belong to it. The first
# lines:

from sklearn_ann import coefficient_table

table = coefficient_table(softmax, X, y, vcov="classical").to_frame()
assert np.allclose(table["std_error"], theirs.bse.T.stack(), rtol=1e-5)
table.head(7)[["class", "term", "estimate", "std_error", "p_value"]].round(4)

# %%
# A step away
# -----------
# Put three hidden units between, and each class has an index that is a regression on
# three bent regressions. Is that better out of sample than the multinomial logit?
# ``compare`` answers with a standard error.

from sklearn_ann import compare

network = ANNClassifier(
    hidden_layer_sizes=3,
    activation="tanh",
    solver="lbfgs",
    alpha=9,
    max_iter=1000,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
    random_state=0,
)
result = compare({"multinomial logit": softmax, "network": network}, X, y, cv=5)
print(result)

# %%
# The network's log loss is lower by about twice the standard error of the difference,
# which with five folds proves little, and its accuracy is the same: hardly a reason to
# leave the multinomial logit. The picture shows what both say about education, at the
# means of the other columns.

import matplotlib.pyplot as plt

levels = np.arange(1, 8)
people = pd.DataFrame([X.mean()] * len(levels)).assign(educ=levels)
names = ("strong Democrat", "", "", "independent", "", "", "strong Republican")
greys = plt.get_cmap("RdBu_r")(np.linspace(0.1, 0.9, 7))
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
fitted = {"Multinomial logit": softmax, "Three hidden units": network.fit(X, y)}
for axis, (title, model) in zip(axes, fitted.items(), strict=True):
    shares = model.predict_proba(people)
    axis.stackplot(levels, shares.T, colors=greys, edgecolor="w", lw=0.5)
    axis.set(title=title, xlabel="education (1 to 7)", ylim=(0, 1), xlim=(1, 7))
edges = np.cumsum(shares[-1]) - shares[-1] / 2
for name, height in zip(names, edges, strict=True):
    axes[1].annotate(
        name, (7.1, height), va="center", annotation_clip=False, fontsize=9
    )
axes[0].set_ylabel("probability, stacked")
figure.tight_layout()
