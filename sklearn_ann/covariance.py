r"""The sandwich: how a fitted network's parameters vary from sample to sample.

For parameters theta that minimise the mean over rows of a loss, with a penalty,

.. math:: \hat\theta - \theta \approx -A^{-1} \bar g, \qquad
          V = A^{-1} B A^{-1} / n,

with A the mean Hessian and B the mean of the rows' squared scores (Huber 1967; White
1982, and 1989 for networks). What is reported are functions of theta, so B is never
written down: each row's *influence* on a function with gradient J is
``phi_i = -J A^-1 g_i``, and all covariances are sums of their squares, by row or by
cluster.

Conventions
-----------
======  =========  ====================================================================
n       -          rows of the fit with positive weight
P, k    -          parameters; rank of A, the number that the data determine
q       -          reported quantities
A       (P, P)     bread: Hessian of the objective, the penalty's included
g_i     (P,)       score of a row: gradient of its loss, with its share of the penalty's
J       (q, P)     derivatives of the quantities in the parameters
phi     (n, q)     influence functions: quantity - target is about their mean
======  =========  ====================================================================

Weights are probability weights, scaled to sum to one.

References
----------
Huber, P. J. (1967). The Behavior of Maximum Likelihood Estimates under Nonstandard
Conditions. Proceedings of the Fifth Berkeley Symposium 1, 221-233.

White, H. (1982). Maximum Likelihood Estimation of Misspecified Models. Econometrica
50(1), 1-25. https://doi.org/10.2307/1912526

White, H. (1989). Some Asymptotic Results for Learning in Single Hidden-Layer
Feedforward Network Models. Journal of the American Statistical Association 84(408),
1003-1013. https://doi.org/10.1080/01621459.1989.10478865
"""

from __future__ import annotations

import numpy as np
import torch

from .derivatives import scores_times
from .optimum import Optimum


def influences(optimum: Optimum, jacobian: np.ndarray) -> np.ndarray:
    """Influence of every row on some quantities, (n_rows, q).

    ``phi_i = -n w_i J A^-1 g_i``, with the rows' weights w_i summing to one, so that
    the quantities' errors are the means of these.
    """
    problem = optimum.problem
    right = optimum.bread.solve(jacobian.T)  # (P, q)
    directions = torch.from_numpy(np.ascontiguousarray(right))
    share = (problem.decay * problem.theta) @ directions  # (q,)
    phi = np.empty((len(problem.weight), jacobian.shape[0]))
    for rows, z, y, weight in problem.chunks():
        sent = problem.sent(z, y)
        along = scores_times(problem.architecture, sent, directions) + share
        phi[rows] = (-along * weight[:, None]).numpy()
    phi *= problem.n
    return phi


def leverages(optimum: Optimum) -> np.ndarray:
    """Leverage of every row of a linear regression, (n_rows,).

    ``h_i = w_i x_i' (sum_j w_j x_j x_j')^-1 x_i``, the penalty's Hessian added.
    """
    problem = optimum.problem
    m = problem.architecture.n_outputs
    inverse = optimum.bread.solve(np.eye(problem.architecture.n_parameters))
    own = torch.from_numpy(np.ascontiguousarray(inverse[::m, ::m]))
    found = np.empty(len(problem.weight))
    for rows, z, _, weight in problem.chunks():
        x = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
        found[rows] = (((x @ own) * x).sum(1) * weight).numpy()
    return found


def classical(optimum: Optimum, jacobian: np.ndarray, k: float) -> np.ndarray:
    """Covariance (q, q) under a correct model: ``J A^-1 A0 A^-1 J' / n``.

    A0 is A without the penalty, times the residual variance for squared error (and
    Pearson's dispersion for gamma), with n - k degrees of freedom. Several linear
    regressions share their regressors, and the covariance of their residuals counts.
    """
    problem, m = optimum.problem, optimum.problem.architecture.n_outputs
    meat = optimum.data_hessian * optimum.dispersion
    if problem.loss.name == "squared_error" and m > 1:
        meat = np.kron(optimum.data_hessian[::m, ::m], optimum.residual_moment)
    freedom = problem.n - k if problem.loss.name in ("squared_error", "gamma") else None
    right = optimum.bread.solve(jacobian.T)
    return right.T @ meat @ right / (freedom or problem.n)


def summed_squares(
    phi: np.ndarray, n: int, clusters: np.ndarray | None = None
) -> np.ndarray:
    """``sum phi phi' / n^2`` over rows, or over the sums of clusters, (q, q).

    Parameters
    ----------
    phi : ndarray of shape (n_rows, q)
    n : int
        Rows that count.
    clusters : ndarray of int of shape (n_rows,), default=None
        Codes from 0.
    """
    if clusters is not None:
        sums = np.zeros((clusters.max() + 1, phi.shape[1]))
        np.add.at(sums, clusters, phi)
        phi = sums
    return phi.T @ phi / n**2
