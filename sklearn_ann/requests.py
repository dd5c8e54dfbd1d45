"""What is asked of the engine: one network each, by anyone who fits one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .engine.architecture import Architecture
from .engine.fit import Fit, Outcome
from .engine.losses import Loss
from .engine.optimizers import SolverOptions
from .engine.rows import SparseRows


@dataclass(slots=True)
class Request:
    """One network asked for: a fit, and what decides whom it can share a stack with.

    ``starts_linear`` asks for a start at the linear model of the fit's own rows.
    """

    fit: Fit
    architecture: Architecture
    loss: Loss
    options: SolverOptions
    device: torch.device
    dtype: torch.dtype
    starts_linear: bool = False

    @property
    def key(self) -> tuple:
        """Requests of equal keys can be trained as one stack."""
        x = self.fit.x
        sparse = isinstance(x, SparseRows)
        centred = isinstance(x, SparseRows) and x.shift is not None
        # A resumed L-BFGS fit brings its own memory along, and stays alone; fits of one
        # stack that was broken off stay together.
        state = self.fit.state
        resumed = state is not None and state.epochs == 0
        alone = self.options.name == "lbfgs" and resumed
        return (
            self.architecture,
            self.loss,
            self.options,
            self.device,
            self.dtype,
            sparse,
            centred,
            self.fit.expansion,
            id(self.fit) if alone else None,
        )


Door = Callable[[Sequence[Request]], list[Outcome]]
"""Takes requests, and returns their outcomes in order."""
