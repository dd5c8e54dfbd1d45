"""What embeddings add to a training step of a stack.

Eight networks of twenty columns and two hidden layers of 64 units, minibatches of 128
rows, float32: forward, loss, backward and Adam's step, one core.

    python -m tests.benchmarks.bench_embeddings
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from sklearn_ann.engine.architecture import Architecture
from sklearn_ann.engine.embeddings import Embedding
from sklearn_ann.engine.losses import make_loss
from sklearn_ann.engine.network import NetworkStack
from sklearn_ann.engine.optimizers import Adam, SolverOptions

from .timing import one_core

K, B, D, HIDDEN = 8, 128, 20, (64, 64)
STEPS, ROUNDS = 10, 200
NUMBERS, LEVELS = tuple(range(D)), (50,) * 5
PERIODIC = Embedding("periodic", NUMBERS, 3, 16)
CASES: dict[str, tuple[Embedding, ...]] = {
    "none": (),
    "periodic, frozen": (PERIODIC,),
    "periodic, trained": (replace(PERIODIC, trained=True),),
    "piecewise linear": (Embedding("piecewise_linear", NUMBERS, 3, 16),),
    "lookup of 5 columns": (Embedding("lookup", tuple(range(5)), 8, levels=LEVELS),),
}


def stepper(embeddings: tuple[Embedding, ...]) -> Callable[[], None]:
    """Make a step of a stack with these embeddings."""
    rng = np.random.default_rng(0)
    architecture = Architecture(D, HIDDEN, 1, ("relu",) * 2, embeddings=embeddings)
    edges = [np.tile(np.linspace(-2, 2, e.size + 1), (D, 1)) for e in embeddings]
    rows = [architecture.initial_row(rng, "auto", np.zeros(1), edges) for _ in range(K)]
    stack = NetworkStack(architecture, torch.from_numpy(np.stack(rows)).float())
    adam = Adam(stack, SolverOptions())
    adam.begin_epoch(np.full(K, 1e-3))
    x = torch.randn(K, B, D + 1)
    for embedding in embeddings:
        if not embedding.expands:
            x[..., list(embedding.columns)] = torch.randint(50, (K, B, 5)).float()
    x[..., -1] = 1.0
    x_t, y, raw = x.mT, torch.randn(K, B, 1), torch.empty(K, B, 1)
    at, loss, move = stack.at(B), make_loss("squared_error"), adam.stepper()

    def step() -> None:
        at.forward(x, raw)
        loss.gradient(raw, y, at.delta)
        at.delta.mul_(1.0 / B)
        at.backward(x, x_t)
        move()

    return step


def microseconds(steps: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Time each kind of step in turn, again and again; the best of the means."""
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            best[name] = min(best[name], (time.perf_counter() - start) / STEPS * 1e6)
    return best


def main() -> None:
    """Print microseconds of a step, and what embeddings multiply it by."""
    one_core()
    with torch.inference_mode():
        found = microseconds({name: stepper(own) for name, own in CASES.items()})
    for name, value in found.items():
        print(f"{name:22}{value:8.0f} us{value / found['none']:7.2f}")


if __name__ == "__main__":
    main()
