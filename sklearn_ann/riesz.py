r"""The Riesz representers of average effects, learned by a network.

An average effect is linear in the function whose effect it is, so there is a function
alpha with ``E[m(f)(x)] = E[alpha(x) f(x)]`` for all f. It minimises

.. math:: E[\alpha(x)^2 - 2 m(\alpha)(x)],

which needs no knowledge of what alpha looks like. Since m takes values of f at points
near x, or with another level, and sums them with coefficients, the sum over rows of a
sample is one over more rows, each with ``c2 alpha^2 - 2 c1 alpha``: the rows themselves
have c2, the points c1.

What is learned is a network with a linear skip. Its linear part has a closed form, and
one decomposition of the rows' moments serves the representers of all effects; a penalty
is chosen for each on a fold held out. Then come hidden units, the same for all effects,
which are trained on what the linear part leaves, and stopped on the fold held out. An
effect takes them where they lower its own loss there. (A network for each effect took
most of the time where effects are many, and learned noise from rare levels.)

References
----------
Chernozhukov, V., Newey, W. K. and Singh, R. (2022). Automatic Debiased Machine Learning
of Causal and Structural Effects. Econometrica 90(3), 967-1027.
https://doi.org/10.3982/ECTA18515

Chernozhukov, V., Newey, W. K., Quintas-Martinez, V. and Syrgkanis, V. (2022). RieszNet
and ForestRiesz: Automatic Debiased Machine Learning with Neural Nets and Random
Forests. Proceedings of Machine Learning Research 162, 3901-3914.
https://proceedings.mlr.press/v162/chernozhukov22a.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .derivatives import raw_outputs
from .engine.architecture import Architecture
from .engine.fit import Fit, Settings
from .engine.losses import Loss
from .engine.optimizers import SolverOptions
from .fitting import fit_networks
from .functionals import Functional
from .requests import Request

# What the hidden part is, the same for all data.
UNITS, ACTIVATION = 16, "tanh"
SETTINGS = Settings(
    alpha=1.0, max_iter=40, tol=1e-3, n_iter_no_change=3, early_stopping=True
)
# Penalties of the linear part, beside moments of columns of variance one.
DECAYS = 10.0 ** np.arange(-5, 2)
# Share of the best loss on the fold held out that may be lost for less of a penalty.
SLACK = 0.1
# Rows and points that hidden units are learned from; more only take time. The linear
# part sees all rows.
MOST_ROWS, MOST_POINTS = 2_000, 6_000
# Rows of an effect, of those, and points in a fold, below which they say little.
LEAST_ROWS, LEAST_POINTS = 40, 5


def _gradient(raw: Tensor, y: Tensor, out: Tensor) -> Tensor:
    torch.mul(raw, y[..., :1], out=out)
    return out.sub_(y[..., 1:]).mul_(2.0)


def _by_output(raw: Tensor, y: Tensor) -> Tensor:
    return y[..., :1] * raw.square() - 2.0 * y[..., 1:] * raw


# Not for users: its targets (c2, c1), with a c1 for each output, are made here.
RIESZ = Loss(
    name="riesz",
    gradient=_gradient,
    values=lambda raw, y: _by_output(raw, y).sum(-1),
    n_raw=lambda my: my - 1,
    constant=lambda y, weight: np.zeros(y.shape[1] - 1),
)


@dataclass(frozen=True, slots=True, eq=False)
class Representers:
    """Representers of some quantities at the rows of the fit.

    Attributes
    ----------
    values : ndarray of shape (n, Q, G)
        Each by a network that has not seen its row.
    n_parameters : int
        Of the networks of one fold.
    n_iter : tuple of int
        Iterations in each fold; empty where there were no hidden units.
    """

    values: np.ndarray
    n_parameters: int
    n_iter: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What representers are learned from.

    Attributes
    ----------
    z, moved : ndarray of shape (n, d)
        Encoded rows of the fit, and of those averaged over: the same, or with columns
        held; a constant last.
    weight : ndarray of shape (n,)
        Of the rows of the fit, summing to one.
    folds : ndarray of int of shape (n,)
        Of three or more; -1 for rows that do not count.
    """

    z: np.ndarray
    moved: np.ndarray
    weight: np.ndarray
    folds: np.ndarray

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1


def representers(
    functionals: Sequence[Functional], sample: Sample, seed: int
) -> Representers:
    """Learn the representers, each fold's by networks that have not seen it.

    Of the other folds one says how much to penalise, and when to stop.
    """
    Q, G = len(functionals), functionals[0].points[0][1].shape[1]
    linear = linear_parts(functionals, sample)  # (K, d, Q * G)
    values = np.zeros((len(sample.z), Q * G))
    for k, rho in enumerate(linear):
        mine = sample.folds == k
        values[mine] = sample.z[mine] @ rho
    n_parameters, n_iter = linear[0].size, tuple[int, ...]()
    points = _points(functionals, sample, seed)
    if points is not None:
        bent, more, n_iter = hidden_parts(points, linear, sample, seed)
        values, n_parameters = values + bent, n_parameters + more
    # The functionals were scaled, and so are their representers.
    scale = np.array([each.scale for each in functionals])
    return Representers(values.reshape(-1, Q, G) / scale[:, None], n_parameters, n_iter)


# ------------------------------------------------------------------------- linear part


def linear_parts(functionals: Sequence[Functional], sample: Sample) -> np.ndarray:
    """Coefficients without each fold, (K, d, Q * G)."""
    folds = [np.flatnonzero(sample.folds == k) for k in range(sample.n_folds)]
    second = np.stack(
        [sample.z[f].T @ (sample.weight[f, None] * sample.z[f]) for f in folds]
    )
    first = np.stack(
        [
            np.hstack([each.moments(sample.moved, f) for each in functionals])
            for f in folds
        ]
    )
    return np.stack([_linear_part(second, first, k) for k in range(len(folds))])


def _linear_part(second: np.ndarray, first: np.ndarray, k: int) -> np.ndarray:
    """Find ``(A + decay)^-1 M`` of all folds but k; the next one decides the decays.

    Parameters
    ----------
    second : ndarray of shape (K, d, d)
    first : ndarray of shape (K, d, q)
    """
    K, held = len(second), (k + 1) % len(second)
    own = [f for f in range(K) if f not in (k, held)]
    tried = _ridge(second[own].sum(0), first[own].sum(0), DECAYS[:, None])
    losses = np.einsum("ldq,de,leq->lq", tried, second[held], tried, optimize=True)
    losses -= 2.0 * np.einsum("ldq,dq->lq", tried, first[held])
    best = losses.min(axis=0)
    # The least of those that do: what a penalty takes from alpha stays uncorrected.
    decay = DECAYS[(losses <= best + SLACK * np.abs(best)).argmax(axis=0)]
    rest = [*own, held]
    return _ridge(second[rest].sum(0), first[rest].sum(0), decay[None])[0]


def _ridge(second: np.ndarray, first: np.ndarray, decays: np.ndarray) -> np.ndarray:
    """Solve for several decays, (L, q) or (L, 1): (L, d, q)."""
    values, vectors = np.linalg.eigh(second)
    turned = vectors.T @ first
    kept = np.maximum(values, 0.0)[None, :, None] + decays[:, None, :]
    return np.asarray(vectors @ (turned / kept))


# ------------------------------------------------------------------------- hidden units


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Some rows and points, as the table of a network.

    Attributes
    ----------
    x : Tensor of shape (r, d)
    fold : ndarray of int of shape (r,)
    c2 : ndarray of shape (r,)
    c1 : ndarray of shape (r, q)
        Of the quantities and groups.
    """

    x: Tensor
    fold: np.ndarray
    c2: np.ndarray
    c1: np.ndarray

    @property
    def enough(self) -> np.ndarray:
        """Whether each fold has points of a quantity, (q,) of bool."""
        counts = [(self.c1[self.fold == k] != 0).sum(0) for k in set(self.fold)]
        return np.asarray(np.min(counts, axis=0) >= LEAST_POINTS)


def _points(
    functionals: Sequence[Functional], sample: Sample, seed: int
) -> Points | None:
    """Draw rows, and for each quantity rows whose points are taken; None if too few."""
    rng = np.random.default_rng(seed)
    rows = _some(rng, np.flatnonzero(sample.weight > 0), MOST_ROWS)
    most = MOST_POINTS // sum(len(each.points) for each in functionals)
    if most < LEAST_ROWS:
        return None
    G = functionals[0].points[0][1].shape[1]
    weight = sample.weight[rows]
    x, owner = [sample.z[rows]], [rows]
    c1 = [np.zeros((len(rows), len(functionals) * G))]
    for q, each in enumerate(functionals):
        drawn, share = _drawn(rng, each, most)
        for block, c in each.points:
            at = sample.moved[drawn]
            at[:, each.place] = block[drawn]
            own = np.zeros((len(drawn), len(functionals) * G))
            own[:, q * G : (q + 1) * G] = c[drawn] / share
            x.append(at)
            c1.append(own)
            owner.append(drawn)
    c2 = np.zeros(sum(map(len, owner)))
    c2[: len(rows)] = weight / weight.sum()
    return Points(
        torch.from_numpy(np.vstack(x)),
        sample.folds[np.concatenate(owner)],
        c2,
        np.vstack(c1),
    )


def _some(rng: np.random.Generator, rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _drawn(
    rng: np.random.Generator, functional: Functional, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a functional, and the share of each group's weight that they hold."""
    size = np.abs(functional.points[0][1])
    drawn = _some(rng, np.flatnonzero(size.any(axis=1)), most)
    with np.errstate(invalid="ignore"):
        share = size[drawn].sum(axis=0) / size.sum(axis=0)
    return drawn, np.where(share > 0, share, 1.0)


def hidden_parts(
    points: Points, linear: np.ndarray, sample: Sample, seed: int
) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """Find what units add at the rows of the fit, (n, q); parameters; iterations."""
    shape = Architecture(
        sample.z.shape[1] - 1, (UNITS,), linear.shape[2], (ACTIVATION,)
    )
    targets = [_left(points, rho) for rho in linear]
    asked = [
        _request(shape, points, y, k, sample.n_folds, [seed, k])
        for k, (y, _) in enumerate(targets)
    ]
    outcomes = fit_networks(asked)
    values = np.zeros((len(sample.z), linear.shape[2]))
    for k, (outcome, (y, unit)) in enumerate(zip(outcomes, targets, strict=True)):
        row = torch.from_numpy(outcome.row.astype(float))
        held = points.fold == (k + 1) % sample.n_folds
        helps = _helps(shape, row, points.x[held], y[held]) & points.enough
        mine = np.flatnonzero(sample.folds == k)
        raw = raw_outputs(shape, row, torch.from_numpy(sample.z[mine, :-1]))
        values[mine] = raw.numpy() * np.where(helps, unit, 0.0)
    n_iter = tuple(outcome.n_iter for outcome in outcomes)
    return values, shape.n_parameters, n_iter


def _left(points: Points, rho: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Say what a linear part leaves: ``(c2, c1 - c2 alpha)`` in units (q,) of alpha."""
    alpha = np.where(points.c2[:, None] > 0, points.x.numpy() @ rho, 0.0)
    unit = np.sqrt(points.c2 @ alpha**2)
    unit = np.where(unit > 0, unit, 1.0)
    left = (points.c1 - points.c2[:, None] * alpha) / unit
    # So that a row's loss is about one: the mean is over rows and points.
    y = np.column_stack([points.c2, left]) * len(left)
    return torch.from_numpy(y), unit


def _helps(shape: Architecture, row: Tensor, x: Tensor, y: Tensor) -> np.ndarray:
    """Whether the units lower a quantity's loss on rows held out, (q,) of bool."""
    losses = _by_output(raw_outputs(shape, row, x[:, :-1]), y).sum(0).numpy()
    return np.asarray(losses < 0)


def _request(
    shape: Architecture,
    points: Points,
    y: Tensor,
    k: int,
    n_folds: int,
    seed: list[int],
) -> Request:
    """Ask for the network of fold k; the next fold decides when it ends."""
    held = (k + 1) % n_folds
    training, holding = (
        torch.from_numpy(np.flatnonzero(mask))
        for mask in ((points.fold != k) & (points.fold != held), points.fold == held)
    )
    start = shape.initial_row(
        np.random.default_rng(seed), "auto", np.zeros(y.shape[1] - 1)
    )
    fit = Fit(
        points.x,
        y,
        training,
        None,
        start,
        SETTINGS,
        seed[0],
        x_val=points.x,
        y_val=y,
        index_val=holding,
    )
    options = SolverOptions(name="lbfgs")
    return Request(fit, shape, RIESZ, options, torch.device("cpu"), torch.float32)
