"""What a fitted estimator holds, made comparable: "exactly as it was" for tests."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator


def described(value: Any) -> Any:
    """Turn an object into nested tuples that are equal where all its parts are.

    Unlike pickles: those of tensors name their storage by its address.
    """
    if isinstance(value, np.ndarray) and value.dtype == object:
        return "objects", value.shape, described(value.ravel().tolist())
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, torch.Tensor):
        return "tensor", described(value.cpu().numpy())
    if isinstance(value, torch.Generator):
        return "generator", described(value.get_state())
    if isinstance(value, np.random.Generator):
        return "generator", described(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return "generator", described(value.get_state())
    if isinstance(value, dict):
        return "dict", tuple((key, described(v)) for key, v in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(described(v) for v in value)
    if isinstance(value, float | int | str | bool | None):
        return type(value).__name__, repr(value)
    return type(value).__name__, tuple(
        (name, described(part)) for name, part in _parts(value).items()
    )


def _parts(value: Any) -> dict[str, Any]:
    kind = type(value)
    if not kind.__module__.startswith("sklearn_ann"):
        return vars(value) if isinstance(value, BaseEstimator) else {"it": repr(value)}
    if kind.__reduce__ is not object.__reduce__:  # it says itself what it is made of
        return {"made from": list(value.__reduce__()[1])}
    slots = [s for c in kind.__mro__ for s in getattr(c, "__slots__", ())]
    named = {name: getattr(value, name) for name in slots if name != "__weakref__"}
    return named | getattr(value, "__dict__", {})
