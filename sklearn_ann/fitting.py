"""The one door to the engine: lists of fits go in, their outcomes come out in order.

Fits that share architecture, loss, solver, device and dtype become one stack. Who asks
does not know who else is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .engine.fit import Fit, Outcome
from .engine.losses import Loss
from .engine.network import Architecture
from .engine.optimizers import SolverOptions
from .engine.rows import SparseRows
from .engine.training import train

# Parameters of one stack (K x P), with gradient, moments and copies some eight times
# as many numbers: half a gigabyte in float64.
MOST_STACKED_NUMBERS = 2**23


@dataclass(slots=True)
class Request:
    """One network asked for: a fit, and what decides whom it can share a stack with."""

    fit: Fit
    architecture: Architecture
    loss: Loss
    options: SolverOptions
    device: torch.device
    dtype: torch.dtype

    @property
    def key(self) -> tuple:
        """Requests of equal keys can be trained as one stack."""
        x = self.fit.x
        sparse = isinstance(x, SparseRows)
        centred = isinstance(x, SparseRows) and x.shift is not None
        # A resumed L-BFGS fit brings its own memory along, and stays alone.
        resumed = self.options.name == "lbfgs" and self.fit.state is not None
        return (
            self.architecture,
            self.loss,
            self.options,
            self.device,
            self.dtype,
            sparse,
            centred,
            id(self.fit) if resumed else None,
        )


Door = Callable[[Sequence[Request]], list[Outcome]]
_local = threading.local()


def fit_networks(requests: Sequence[Request]) -> list[Outcome]:
    """Train what is asked for.

    Parameters
    ----------
    requests : sequence of Request

    Returns
    -------
    list of Outcome
        In the order of the requests.
    """
    door: Door = getattr(_local, "door", train_requests)
    return door(requests)


def train_requests(requests: Sequence[Request]) -> list[Outcome]:
    """Group requests into stacks, train these, and sort the outcomes back."""
    outcomes: dict[int, Outcome] = {}
    for stack in stacks(requests):
        first = requests[stack[0]]
        trained = train(
            [requests[i].fit for i in stack],
            first.architecture,
            first.loss,
            first.options,
            first.device,
            first.dtype,
        )
        outcomes.update(zip(stack, trained, strict=True))
    return [outcomes[i] for i in range(len(requests))]


def stacks(requests: Sequence[Request]) -> list[list[int]]:
    """Cut the numbers of the requests into lists that are trained together."""
    groups: dict[tuple, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.key, []).append(i)
    cut = []
    for group in groups.values():
        size = requests[group[0]].architecture.n_parameters
        most = max(1, MOST_STACKED_NUMBERS // size)
        cut += [group[i : i + most] for i in range(0, len(group), most)]
    return cut
