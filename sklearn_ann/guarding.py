"""What surrounds a fit: state that survives failures, and one warning that helps."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from .engine.fit import Outcome, Status


@contextmanager
def _restoring(estimator: BaseEstimator) -> Iterator[None]:
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def keeps_state(method: Callable) -> Callable:
    """Decorate a fit: one that fails, or is interrupted, leaves the estimator alone."""

    @functools.wraps(method)
    def kept(self: BaseEstimator, *args: Any, **kwargs: Any) -> Any:
        with _restoring(self):
            return method(self, *args, **kwargs)

    return kept


def takes_steps(estimator: Any) -> bool:
    """Whether there is a `partial_fit`: the condition of `available_if`."""
    if estimator.solver != "lbfgs":
        return True
    raise AttributeError(
        "partial_fit takes steps along the gradient of a batch, which solver='lbfgs' "
        "does not. Use solver='auto', 'adam', 'adamw' or 'sgd'."
    )


def final_loss(outcome: Outcome) -> float:
    """Last training loss, infinite where it is not a number."""
    loss = outcome.record.losses[-1]
    return loss if np.isfinite(loss) else np.inf


def failure(outcome: Outcome, max_iter: int) -> str | None:
    """Say what went wrong and what to do; None for a fit that ended well."""
    if outcome.status is Status.DIVERGED:
        return (
            f"Training became non-finite in epoch {outcome.n_iter}; the last finite "
            "parameters are kept. Lower learning_rate_init, set max_grad_norm, or use "
            "standardize=True."
        )
    if outcome.status is Status.MAX_ITER:
        return (
            f"Training reached max_iter={max_iter} before it converged. Raise "
            "max_iter or learning_rate_init, or raise tol if the loss is good enough."
        )
    return None


def warn_of(outcome: Outcome, max_iter: int) -> None:
    """Turn a failure into one warning."""
    message = failure(outcome, max_iter)
    if message is not None:
        # The caller of fit: above are this function, _train, fit and its decorators.
        warnings.warn(message, ConvergenceWarning, stacklevel=6)
