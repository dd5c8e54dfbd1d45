"""Derivatives in the parameters against autograd, and against R's nnet."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from econ_data import wage1

from sklearn_ann.derivatives import (
    ACTIVATION_FUNCTIONS,
    mean_score,
    raw_outputs,
    scores_times,
    signals,
    summed_hessian,
)
from sklearn_ann.engine.architecture import Architecture, forward
from sklearn_ann.engine.layers import ACTIVATIONS
from sklearn_ann.engine.losses import make_loss

ROUNDING = 1e-11
SHAPES = [(), (3,), (4, 2), (2, 3, 2)]
# Without hidden layer there is no skip.
NETWORKS = [
    (hidden, skip)
    for hidden, skip in product(SHAPES, (False, True))
    if hidden or not skip
]
each_network = pytest.mark.parametrize(("hidden", "skip"), NETWORKS)
SMOOTH = [name for name, a in ACTIVATIONS.items() if a.smooth]
LOSSES = ("squared_error", "huber", "poisson", "gamma", "log_loss", "multinomial")


def rows(loss_name, n=30, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=rng, dtype=torch.float64)

    z, weight = 2 * uniform(n, 3) - 1, uniform(n)
    if loss_name == "multinomial":
        y = torch.randint(0, 2, (n, 1), generator=rng)
    elif loss_name == "log_loss":
        y = (uniform(n, 2) > 0.5).double()
    else:
        y = 4 * uniform(n, 2) + 0.1
    return z, y, weight


def network(hidden, activation, skip, seed=1):
    architecture = Architecture(3, hidden, 2, (activation,) * len(hidden), skip)
    rng = np.random.default_rng(seed)
    return architecture, torch.from_numpy(rng.normal(size=architecture.n_parameters))


def by_hand(architecture, theta, loss, z, y, weight):
    def gradient(raw):
        return loss.gradient(raw, y, torch.empty_like(raw))

    sent = signals(architecture, theta, z, gradient)
    hessian = summed_hessian(
        architecture, theta, z, gradient, lambda raw: loss.curvature(raw, y), weight
    )
    return sent, mean_score(architecture, sent, weight), hessian


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_the_engine(name):
    z = torch.linspace(-30.0, 30.0, 2001, dtype=torch.float64)
    found = ACTIVATION_FUNCTIONS[name](z)
    # As the engine calls them: one tensor, unless the derivative needs the input.
    expected = torch.empty_like(z) if ACTIVATIONS[name].saves == "input" else z
    ACTIVATIONS[name].forward(z, expected)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)


@each_network
def test_raw_outputs_are_those_of_the_model(hidden, skip):
    architecture, theta = network(hidden, "tanh", skip)
    z, _, _ = rows("squared_error")
    parameters = architecture.unpack(theta.numpy())
    skipped = z @ torch.from_numpy(parameters.skip) if skip else None
    first = z @ torch.from_numpy(parameters.weights[0])
    expected = forward(architecture, parameters, first, skipped)
    torch.testing.assert_close(raw_outputs(architecture, theta, z), expected)


@pytest.mark.parametrize(
    ("activation", "loss_name"),
    [("tanh", name) for name in LOSSES] + [(name, "poisson") for name in SMOOTH],
)
@each_network
def test_gradient_and_hessian_against_autograd(activation, hidden, skip, loss_name):
    architecture, theta = network(hidden, activation, skip)
    loss = make_loss(loss_name, n_classes=2)
    z, y, weight = rows(loss_name)
    _, gradient, hessian = by_hand(architecture, theta, loss, z, y, weight)

    def objective(theta):
        return (loss.values(raw_outputs(architecture, theta, z), y) * weight).sum()

    expected = torch.autograd.functional.jacobian(objective, theta)
    torch.testing.assert_close(gradient, expected, rtol=ROUNDING, atol=ROUNDING)
    expected = torch.autograd.functional.hessian(objective, theta)
    torch.testing.assert_close(hessian, expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gauss_newton_leaves_the_networks_curvature_out(activation):
    architecture, theta = network((3,), activation, True)
    loss = make_loss("poisson")
    z, y, weight = rows("poisson")
    found = summed_hessian(
        architecture,
        theta,
        z,
        lambda raw: loss.gradient(raw, y, torch.empty_like(raw)),
        lambda raw: loss.curvature(raw, y),
        weight,
        gauss_newton=True,
    )
    reach = torch.autograd.functional.jacobian(
        lambda theta: raw_outputs(architecture, theta, z), theta
    )
    curvature = loss.curvature(raw_outputs(architecture, theta, z), y)
    expected = torch.einsum("nop,noq,nqr,n->pr", reach, curvature, reach, weight)
    torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_scores_along_directions_are_scores_times_directions():
    architecture, theta = network((4, 2), "tanh", True)
    loss = make_loss("squared_error")
    z, y, weight = rows("squared_error")
    sent, _, _ = by_hand(architecture, theta, loss, z, y, weight)
    scores = torch.autograd.functional.jacobian(
        lambda theta: loss.values(raw_outputs(architecture, theta, z), y), theta
    )
    directions = torch.randn(
        len(theta), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    found = scores_times(architecture, sent, directions)
    torch.testing.assert_close(found, scores @ directions)


def test_hessian_of_nnet():
    """R's sum of squares is 2 n times our mean loss, and so is its Hessian."""
    path = Path(__file__).parent / "data" / "nnet_wage1.json"
    reference = json.loads(path.read_text())
    X, y = wage1()
    z = (X.to_numpy() - reference["xmean"]) / reference["xsd"]
    z, y = torch.from_numpy(z), torch.tensor(y.to_numpy()[:, None])
    architecture = Architecture(3, (2,), 1, ("logistic",))
    # nnet: for each hidden unit its intercept and weights; then those of the output.
    place = [3 * 2, 0, 2, 4, 3 * 2 + 1, 1, 3, 5, 8 + 2, 8 + 0, 8 + 1]
    theta = torch.zeros(11, dtype=torch.float64)
    theta[place] = torch.tensor(reference["wts"], dtype=torch.float64)
    loss, weight = make_loss("squared_error"), torch.ones(len(y), dtype=torch.float64)
    _, _, hessian = by_hand(architecture, theta, loss, z, y, weight)
    value = 2 * loss.values(raw_outputs(architecture, theta, z), y).sum()
    np.testing.assert_allclose(value, reference["value"], rtol=1e-10)
    found = 2 * hessian.numpy()[np.ix_(place, place)]
    np.testing.assert_allclose(found, reference["hess"], rtol=1e-6, atol=1e-8)
