"""Fits for the engine's tests, asked for in a line."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.fit import Fit, Outcome, Settings
from sklearn_ann.engine.losses import Loss, make_loss
from sklearn_ann.engine.optimizers import SolverOptions
from sklearn_ann.engine.rows import SparseRows
from sklearn_ann.engine.training import train

CPU = torch.device("cpu")
# solver, options: all that a step can be, and L-BFGS.
SOLVERS: dict[str, tuple[str, dict]] = {
    "sgd-plain": ("sgd", {"nesterovs_momentum": False}),
    "sgd-nesterov": ("sgd", {}),
    "adam": ("adam", {}),
    "adamw": ("adamw", {}),
    "lbfgs": ("lbfgs", {}),
}
# No early end: training takes all its epochs, unless a test says otherwise.
PATIENT = Settings(tol=0.0, n_iter_no_change=np.inf)


def design(X: np.ndarray) -> torch.Tensor:
    """X (n, d) with its column of ones, (n, d + 1)."""
    return torch.from_numpy(np.column_stack([X, np.ones(len(X))]))


def sparse_rows(X: np.ndarray, shift: np.ndarray | None = None) -> SparseRows:
    """X (n, d) in compressed rows, to be centred by shift (d,) on the way."""
    csr = sp.csr_array(X)
    return SparseRows(
        torch.from_numpy(csr.indptr.astype(np.int64)),
        torch.from_numpy(csr.indices.astype(np.int64)),
        torch.from_numpy(csr.data),
        X.shape[1],
        None if shift is None else torch.from_numpy(shift),
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """What the fits of a test share: data, shape of the network, loss."""

    X: np.ndarray
    y: torch.Tensor
    architecture: Architecture
    loss: Loss

    def start(self, seed: int = 0) -> np.ndarray:
        """Draw starting parameters (P,), the skip's and the last intercepts' too."""
        rng = np.random.default_rng(seed)
        m = self.architecture.n_outputs
        row = self.architecture.initial_row(rng, "auto", rng.normal(size=m))
        return row + rng.normal(scale=0.1, size=len(row))

    def fit(self, seed: int = 0, index: np.ndarray | None = None, **asked) -> Fit:
        """One network's fit: of all rows, unless ``index`` names some.

        Fields of `Fit` and of `Settings` alike are given by name.
        """
        fields = {name: asked.pop(name) for name in list(asked) if name in FIELDS}
        x = fields.pop("x", None)
        index = np.arange(len(self.X)) if index is None else index
        fit = Fit(
            x=design(self.X) if x is None else x,
            y=fields.pop("y", self.y),
            index=torch.from_numpy(np.asarray(index, dtype=np.int64)),
            weight=fields.pop("weight", None),
            start=fields.pop("start") if "start" in fields else self.start(seed),
            settings=replace(PATIENT, **asked),
            seed=fields.pop("seed", seed),
        )
        for name, value in fields.items():
            setattr(fit, name, value)
        return fit

    def train(
        self,
        fits: list[Fit],
        solver: str = "adam",
        dtype: torch.dtype = torch.float64,
        **options,
    ) -> list[Outcome]:
        """Train fits as one stack."""
        options = SolverOptions(name=solver, **options)
        return train(fits, self.architecture, self.loss, options, CPU, dtype)

    def alone(self, fit: Fit, solver: str = "adam", **options) -> Outcome:
        """Train one fit in a stack of its own."""
        return self.train([fit], solver, **options)[0]


FIELDS = set(Fit.__slots__) - {"settings", "index"}


def regression(
    n: int = 203,
    hidden: tuple[int, ...] = (7,),
    activation: str = "tanh",
    outputs: int = 1,
    linear_skip: bool = False,
    seed: int = 0,
) -> Problem:
    """Squared error on a curved surface of three columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    surface = X[:, :1] + np.sin(2 * X[:, 1:2]) * X[:, 2:]
    y = surface + rng.normal(scale=0.3, size=(n, outputs))
    activations = (activation,) * len(hidden)
    architecture = Architecture(3, hidden, outputs, activations, linear_skip)
    return Problem(X, torch.from_numpy(y), architecture, make_loss("squared_error"))


def held_out(problem: Problem, first: int = 150) -> dict:
    """Ask for early stopping on the last rows of the table."""
    index = torch.arange(first, len(problem.X))
    table = {"x_val": design(problem.X), "y_val": problem.y, "index_val": index}
    return table | {"early_stopping": True}
