"""
One neuron is a logit
=====================

A *neuron* adds up its inputs with weights and sends the sum through an S-shaped curve.
An economist calls the sum an index, the curve the logistic distribution, and the whole
thing a logit. This example shows that they are the same, to the last digit that
matters.

The data are those of Spector and Mazzeo (1980): 32 students, of whom some took part in
a new teaching programme (PSI). Did their grade improve, given their average (GPA) and
the score of a test (TUCE)?
"""

# %%
# The logit
# ---------
# First as statsmodels estimates it, by maximum likelihood.

import pandas as pd
from statsmodels.api import Logit, add_constant
from statsmodels.datasets import spector

students = spector.load_pandas()
X, y = students.exog, students.endog
logit = Logit(y, add_constant(X)).fit(disp=0, tol=1e-12)

# %%
# The neuron
# ----------
# A network without hidden layer is one neuron: three inputs, one output. Its weights
# are in ``coefs_``, one table for each layer; its constant, the *bias* in the language
# of networks, is in ``intercepts_``.

from sklearn_ann import ANNClassifier

neuron = ANNClassifier(hidden_layer_sizes=()).fit(X, y)
[weights], [constant] = neuron.coefs_, neuron.intercepts_

pd.DataFrame(
    {"logit": logit.params, "neuron": [*constant, *weights[:, 0]]},
).round(6)

# %%
# As a picture, with lines as wide as the weights of standardised columns are large:

from sklearn_ann.plotting import NetworkDisplay

diagram = NetworkDisplay.from_estimator(neuron, output_names=["better grade"])

# %%
# What it fires with is the probability. By hand, with the weights above:

import numpy as np

index = X.to_numpy() @ weights[:, 0] + constant
fired = 1 / (1 + np.exp(-index))
gap = np.abs(fired - logit.predict()).max()
print(f"largest difference between neuron and logit: {gap:.0e}")
assert np.allclose(fired, neuron.predict_proba(X)[:, 1])

# %%
# What a network is trained to do is what maximum likelihood does: its *loss* is minus
# the log-likelihood of a row, averaged over rows.

loss = neuron.loss_ * len(y)
print(f"loss of the network, times rows: {loss:.6f}")
print(f"log-likelihood of the logit:    {logit.llf:.6f}")

# %%
# So the neuron has standard errors, and the table that goes with them:

from sklearn_ann import coefficient_table

print(coefficient_table(neuron, X, y, vcov="classical"))

# %%
# The picture
# -----------
# Left: the index is a line in GPA, and the neuron bends it into a probability. Right:
# each student at his or her index.

import matplotlib.pyplot as plt

gpa = np.linspace(2, 4, 100)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for psi, line in ((0, "--"), (1, "-")):
    rows = pd.DataFrame({"GPA": gpa, "TUCE": X["TUCE"].mean(), "PSI": psi})
    label = "with the programme" if psi else "without"
    left.plot(gpa, neuron.predict_proba(rows)[:, 1], line, color="C0", label=label)
left.set(xlabel="grade point average", ylabel="probability of a better grade")
left.set_title("One neuron, at the mean test score")
left.legend()

around = np.linspace(index.min() - 1, index.max() + 1, 200)
right.plot(around, 1 / (1 + np.exp(-around)), color="C0")
for psi, mark in ((0, "o"), (1, "^")):
    some = X["PSI"] == psi
    right.plot(index[some], y[some], mark, color="C1", mfc="none", label=f"PSI = {psi}")
right.set(xlabel="index: weights times inputs, plus constant", title="The students")
right.legend(loc="center right")
figure.tight_layout()

# %%
# With numbers instead of classes and no curve at the end, the same network is OLS:
# ``ANNRegressor(hidden_layer_sizes=())``. A network is such regressions stacked
# together, and :ref:`the next step <sphx_glr_auto_examples_plot_linear_layers.py>`
# stacks them.
