"""What surrounds a fit: state that survives failures, and one warning that helps."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from .engine.device import settle_after_fork
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
    """Decorate a fit: one that fails, or is interrupted, leaves the estimator alone.

    Where memory ran out it says what would have needed less.
    """

    @functools.wraps(method)
    def kept(self: BaseEstimator, *args: Any, **kwargs: Any) -> Any:
        settle_after_fork()
        with _restoring(self):
            try:
                return method(self, *args, **kwargs)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                raise MemoryError(_what_needs_less(self, error)) from error

    return kept


# How PyTorch says it where it has no class of errors for it: the CPU's allocator, MPS.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, NumPy or PyTorch is that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and any(w in words for w in _OUT_OF_MEMORY)


def _what_needs_less(estimator: Any, error: BaseException) -> str:
    """Name the parameters that would make this fit smaller."""
    ways = ["fewer units in hidden_layer_sizes"]
    if estimator.solver == "lbfgs" or estimator.batch_size == "full":
        ways.append("solver='adamw' with batch_size=128, in place of all rows at once")
    elif estimator.batch_size != "auto":
        ways.append(f"a batch_size below {estimator.batch_size}")
    if estimator.n_estimators != 1:
        ways.append("n_estimators=1")
    if estimator.numeric_embedding is not None:
        ways.append("numeric_embedding=None")
    if estimator.dtype != "float32":
        ways.append("dtype='float32'")
    ways.append("partial_fit, on some of the rows at a time")
    reason = str(error).partition("\n")[0] or type(error).__name__
    return (
        f"Memory ran out in this fit ({reason}). The estimator is as it was before. "
        f"Less is needed with {'; '.join(ways[:-1])}; or with {ways[-1]}."
    )


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
        warnings.warn(message, ConvergenceWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the stacklevel of whoever called into the package: a warning is theirs.

    Through the wrapper that scikit-learn puts around fits, too.
    """
    frame, level = sys._getframe(1), 1
    ours = __name__.partition(".")[0]
    while frame.f_back is not None and (
        frame.f_globals["__name__"].partition(".")[0] == ours
        or frame.f_globals["__name__"] == "sklearn.base"
    ):
        frame, level = frame.f_back, level + 1
    return level
