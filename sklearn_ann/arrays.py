"""Arrays at the door: tensors are taken in, and answered in kind; plain tables pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn import get_config


def as_numpy(array: Any) -> Any:
    """Return a tensor as a NumPy array; anything else as it is.

    From any device and with or without gradient, where ``np.asarray`` would raise.
    """
    if isinstance(array, torch.Tensor):
        return array.detach().cpu().numpy()
    return array


def sums_to_a_number(X: np.ndarray) -> bool:
    """Whether the sum of a table is finite; it then holds neither nan nor inf.

    Cheaper than a look at each number. False for some finite tables: those whose sum
    is larger than any number.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(X.sum())


def is_plain_table(X: Any, n_features: int) -> bool:
    """Whether X is what every check of scikit-learn would hand back as it is.

    For one row these checks cost several times the prediction. What is refused here
    goes through them, for their messages.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.shape[1] == n_features
        and X.shape[0] > 0
        and X.dtype in (np.float64, np.float32)
        and sums_to_a_number(X)
    )


def answers_in_kind(method: Callable) -> Callable:
    """Decorate ``method(self, X)``: it sees X as NumPy array, and answers like X.

    As everywhere in scikit-learn, the answer is a tensor, on X's device, only with
    ``sklearn.set_config(array_api_dispatch=True)``; labels that are no numbers stay in
    a NumPy array.
    """

    @functools.wraps(method)
    def answered(self: Any, X: Any) -> Any:
        answer = method(self, as_numpy(X))
        dispatch = get_config()["array_api_dispatch"]
        if not (dispatch and isinstance(X, torch.Tensor)):
            return answer
        if not np.issubdtype(answer.dtype, np.number) and answer.dtype != bool:
            return answer
        return _tensor_beside(answer, X)

    return answered


def _tensor_beside(array: np.ndarray, X: torch.Tensor) -> torch.Tensor:
    # Apple's GPUs have no float64.
    narrow = X.device.type == "mps" and array.dtype == np.float64
    return torch.tensor(array.astype(np.float32) if narrow else array, device=X.device)
