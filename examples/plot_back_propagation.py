"""
Back propagation by hand
========================

Gradient descent needs the derivative of the loss in every weight. For the weights of
the last layer that is a regression's normal equations. For a weight in the first layer
it is the chain rule, link by link; done for all weights at once, from the output
backwards, it is called *back propagation*. Here one weight is followed by hand and
compared with three other ways to get the same number.
"""

# %%
# The network
# -----------
# Two inputs (standardised year and age), two hidden units with tanh, one output
# (standardised log wage), weights as they were drawn.

import numpy as np

from sklearn_ann.tables import load_wages

wages = load_wages()
table = wages[["year", "age", "log_wage"]].to_numpy()
table = (table - table.mean(axis=0)) / table.std(axis=0)
X, y = table[:, :2], table[:, 2]

rng = np.random.default_rng(0)
V, a = rng.normal(size=(2, 2)), rng.normal(size=2)  # inputs to hidden units
w, c = rng.normal(size=2), rng.normal()  # hidden units to output


def forward(V):
    """Hidden units (n, 2) and predictions (n,) for first-layer weights V."""
    hidden = np.tanh(X @ V + a)
    return hidden, hidden @ w + c


def loss(V):
    """Half the mean squared error, as it is trained."""
    return np.mean((forward(V)[1] - y) ** 2) / 2


# %%
# One weight, by hand
# -------------------
# What happens if ``V[1, 0]``, from age to the first hidden unit, grows a little?
#
# .. code-block:: text
#
#     V[1, 0] moves the index of unit 0 by                  x[1]
#     the index moves the unit by          tanh' =          1 - h[0]^2
#     the unit moves the prediction by                      w[0]
#     the prediction moves the loss by                      prediction - y
#
#     d loss / d V[1, 0]  =  mean of (prediction - y) * w[0] * (1 - h[0]^2) * x[1]

hidden, prediction = forward(V)
by_hand = np.mean((prediction - y) * w[0] * (1 - hidden[:, 0] ** 2) * X[:, 1])
print(f"by hand: {by_hand:.12f}")

# %%
# Three other ways
# ----------------
# *Differences*: move the weight by a millionth and look. It needs two passes for each
# weight, which is why nobody trains that way.

up, down = V.copy(), V.copy()
up[1, 0] += 1e-6
down[1, 0] -= 1e-6
by_difference = (loss(up) - loss(down)) / 2e-6

# %%
# *Automatic differentiation*: PyTorch writes down what is computed and applies the
# chain rule to the notes, backwards.

import torch

V_t = torch.tensor(V, requires_grad=True)
h_t = torch.tanh(torch.tensor(X) @ V_t + torch.tensor(a))
loss_t = ((h_t @ torch.tensor(w) + c - torch.tensor(y)) ** 2).mean() / 2
loss_t.backward()
by_autograd = V_t.grad[1, 0].item()

# %%
# *The package*: its back propagation is written out, layer by layer. One step of plain
# gradient descent from the same weights moves each weight by minus the rate times its
# gradient, so the gradient can be read off the step.

import warnings

from sklearn.exceptions import ConvergenceWarning

from sklearn_ann import ANNRegressor

network = ANNRegressor(
    hidden_layer_sizes=2,
    activation="tanh",
    solver="sgd",
    momentum=0,
    batch_size="full",
    learning_rate_init=0.01,
    alpha=0,
    max_iter=1,
    standardize=False,
    early_stopping=False,
    linear_skip=False,
    n_estimators=1,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # one step is one step
    network.fit(X, y, coefs_init=[V, w[:, None]], intercepts_init=[a, [c]])
by_network = (V[1, 0] - network.coefs_[0][1, 0]) / 0.01

import pandas as pd

ways = {
    "by hand": by_hand,
    "difference": by_difference,
    "autograd": by_autograd,
    "package": by_network,
}
assert np.allclose(list(ways.values()), by_hand, rtol=1e-6)
pd.DataFrame({"d loss / d V[1, 0]": ways}).map("{:.12f}".format)

# %%
# All weights at once
# -------------------
# The products above share their factors. Written as matrices, backwards: first what the
# loss says of the prediction, then what that says of the hidden units, then of the
# weights. The cost is that of a second forward pass or two, whatever the number of
# weights.

error = (prediction - y) / len(y)  # (n,)
w_gradient = hidden.T @ error  # (2,)
index_error = np.outer(error, w) * (1 - hidden**2)  # (n, 2)
V_gradient = X.T @ index_error  # (2, 2)
print("V, all at once:\n", V_gradient)
assert np.allclose(V_gradient, V_t.grad.numpy(), rtol=1e-12)

# %%
# The picture shows the path of the weight, with the mean size of each link, and the
# check that counts: the loss along the weight, with the slope that was computed.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1.4, 1))
places = {"year": (0, 1), "age": (0, 0), "h0": (1, 1), "h1": (1, 0), "wage": (2, 0.5)}
edges = [(i, h) for i in ("year", "age") for h in ("h0", "h1")]
edges += [(h, "wage") for h in ("h0", "h1")]
for start, end in edges:
    on_path = (start, end) in (("age", "h0"), ("h0", "wage"))
    style = {"color": "C1", "lw": 3} if on_path else {"color": "0.8", "lw": 1.5}
    left.plot(*zip(places[start], places[end], strict=True), zorder=1, **style)
for name, place in places.items():
    left.scatter(*place, s=1500, color="w", edgecolor="k", zorder=2)
    left.annotate(name, place, ha="center", va="center", zorder=3)
links = {
    (0.1, 0.52): f"times x[1]\nmean size {np.abs(X[:, 1]).mean():.2f}",
    (1.0, 1.32): f"times 1 - h[0]^2\nmean {np.mean(1 - hidden[:, 0] ** 2):.2f}",
    (1.62, 0.98): f"times w[0]\n{w[0]:.2f}",
    (2.0, 0.05): f"prediction - y\nmean size {np.abs(prediction - y).mean():.2f}",
}
for place, text in links.items():
    left.annotate(text, place, ha="center", va="center", fontsize=9, color="C1")
left.set(
    xlim=(-0.3, 2.4), ylim=(-0.35, 1.55), title="From the error back to one weight"
)
left.axis("off")

moved = V[1, 0] + np.linspace(-1, 1, 81)
losses = []
for value in moved:
    V_moved = V.copy()
    V_moved[1, 0] = value
    losses.append(loss(V_moved))
near = np.array([-0.5, 0.5])
right.plot(moved, losses, "0.4")
right.plot(V[1, 0] + near, loss(V) + by_hand * near, "C1--", label="slope by hand")
right.plot(V[1, 0], loss(V), "ko")
right.set(xlabel="the weight from age to h0", ylabel="loss", title="The loss along it")
right.legend()
figure.tight_layout()
