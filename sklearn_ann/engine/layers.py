"""The parts of a network: activations, forward and backward side by side, and starts.

An activation is a value in a table. ``forward(z, a)`` writes the activation of ``z``
into ``a``; ``backward(gradient, saved)`` multiplies ``gradient`` in place by the
derivative. ``saved`` is what the derivative needs: the output ``a`` where that is
enough (then ``a`` may be ``z`` itself, and nothing is stored twice), else the input
``z``. Shapes are free: all of them act on single numbers.

PyTorch's own ``*_backward`` kernels are used rather than the formula spelled out: one
call instead of three, and for ReLU 33 microseconds become 4, since multiplying by a
boolean mask converts it first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_aten = torch.ops.aten


def _bound(overload: Any) -> Any:
    """Bind an overload once: looking it up costs half as much as running it.

    Its wrapper in Python costs another quarter; ``_op`` is what that calls.
    """
    return getattr(overload, "_op", overload)


_threshold_backward = _bound(_aten.threshold_backward.grad_input)
_threshold = _bound(_aten.threshold.out)
_sigmoid_backward = _bound(_aten.sigmoid_backward.grad_input)
_tanh_backward = _bound(_aten.tanh_backward.grad_input)


_MINUS_ONE = torch.tensor(-1.0, dtype=torch.float64)  # numbers cost calls 2 us each


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation function.

    Attributes
    ----------
    name : str
    forward : callable (z, a) -> None
        Writes f(z) into a.
    backward : callable (gradient, saved) -> None
        gradient *= f'(z), in place.
    saves : {"output", "input"}
        Whether ``backward`` is given a or z.
    init : str
        The initialiser that keeps variances level through layers of this activation.
    smooth : bool
        Twice differentiable everywhere (decides whether Hessians mean anything).
    keeps_one : bool, default=False
        f(1) = 1, so that a column of ones survives the activation.
    fills_part : bool, default=False
        Whether a may as well be a part of a wider tensor: others are slow to write
        there. The derivative can then be had from z.
    """

    name: str
    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor], object]
    saves: str
    init: str
    smooth: bool
    keeps_one: bool = False
    fills_part: bool = False


def _keep(*tensors: Tensor) -> None:
    """Identity: nothing to do in either direction."""


def _relu(z: Tensor, a: Tensor) -> None:
    if a is z:
        torch.relu_(z)
    else:
        _threshold(z, 0, 0, out=a)


def _tanh(z: Tensor, a: Tensor) -> None:
    """Write tanh z into a; in float64 on a CPU as ``2 / (1 + exp(-2 z)) - 1``.

    That takes half the time, and is off by 1.5 roundings of one (3.3e-16) at most.
    """
    if z.dtype is not torch.float64 or not z.is_cpu:
        torch.tanh(z, out=a)
        return
    torch.add(z, z, out=a)
    torch.sigmoid(a, out=a)
    torch.add(_MINUS_ONE, a, alpha=2, out=a)


def _cosine(z: Tensor, a: Tensor) -> None:
    # Gallant and White (1988): (1 + cos(z + 3 pi / 2)) / 2 on [-pi/2, pi/2], 0 and 1
    # outside. cos(z + 3 pi / 2) = sin z. The clamp is kept in z: there cos z = 0, so
    # the derivative needs no mask.
    z.clamp_(-math.pi / 2, math.pi / 2)
    torch.sin(z, out=a)
    a.add_(1.0).mul_(0.5)


def _cosine_backward(gradient: Tensor, z: Tensor) -> None:
    gradient.mul_(torch.cos(z)).mul_(0.5)


# Klambauer, Unterthiner, Mayr and Hochreiter (2017)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_LEAK = 0.01

ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("identity", _keep, _keep, "output", "glorot_uniform", True, True),
        Activation(
            "logistic",
            lambda z, a: torch.sigmoid(z, out=a),
            lambda g, a: _sigmoid_backward(g, a, grad_input=g),
            "output",
            "glorot_uniform",
            True,
        ),
        Activation(
            "tanh",
            _tanh,
            lambda g, a: _tanh_backward(g, a, grad_input=g),
            "output",
            "glorot_uniform",
            True,
        ),
        Activation(
            "cosine", _cosine, _cosine_backward, "input", "glorot_uniform", False
        ),
        Activation(
            "relu",
            _relu,
            lambda g, a: _threshold_backward(g, a, 0, grad_input=g),
            "output",
            "he_uniform",
            False,
            True,
            True,
        ),
        Activation(
            "leaky_relu",
            lambda z, a: _aten.leaky_relu.out(z, _LEAK, out=a),
            lambda g, a: _aten.leaky_relu_backward.grad_input(
                g, a, _LEAK, True, grad_input=g
            ),
            "output",
            "he_uniform",
            False,
            True,
        ),
        Activation(
            "elu",
            lambda z, a: _aten.elu.out(z, 1.0, 1.0, 1.0, out=a),
            lambda g, a: _aten.elu_backward.grad_input(
                g, 1.0, 1.0, 1.0, True, a, grad_input=g
            ),
            "output",
            "he_uniform",
            False,
        ),
        Activation(
            "selu",
            lambda z, a: _aten.elu.out(z, _SELU_ALPHA, _SELU_SCALE, 1.0, out=a),
            lambda g, a: _aten.elu_backward.grad_input(
                g, _SELU_ALPHA, _SELU_SCALE, 1.0, True, a, grad_input=g
            ),
            "output",
            "lecun_normal",
            False,
        ),
        Activation(
            "softplus",
            lambda z, a: _aten.softplus.out(z, 1.0, 20.0, out=a),
            lambda g, z: _aten.softplus_backward.grad_input(
                g, z, 1.0, 20.0, grad_input=g
            ),
            "input",
            "glorot_uniform",
            True,
        ),
        Activation(
            "gelu",
            lambda z, a: _aten.gelu.out(z, approximate="none", out=a),
            lambda g, z: _aten.gelu_backward.grad_input(
                g, z, approximate="none", grad_input=g
            ),
            "input",
            "he_uniform",
            True,
        ),
        Activation(
            "silu",
            lambda z, a: _aten.silu.out(z, out=a),
            lambda g, z: _aten.silu_backward.grad_input(g, z, grad_input=g),
            "input",
            "he_uniform",
            True,
        ),
    )
}


def _uniform(variance: Callable[[int, int], float]) -> Callable[..., np.ndarray]:
    def draw(rng: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        bound = math.sqrt(3.0 * variance(fan_in, fan_out))
        return rng.uniform(-bound, bound, (fan_in, fan_out))

    return draw


def _normal(variance: Callable[[int, int], float]) -> Callable[..., np.ndarray]:
    def draw(rng: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return rng.normal(0.0, math.sqrt(variance(fan_in, fan_out)), (fan_in, fan_out))

    return draw


def _orthogonal(rng: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
    # Saxe, McClelland and Ganguli (2014). The signs of R's diagonal make Q uniform.
    tall = (max(fan_in, fan_out), min(fan_in, fan_out))
    q, r = np.linalg.qr(rng.normal(size=tall))
    q *= np.sign(np.diag(r))
    return q if fan_in >= fan_out else q.T


def _glorot(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)  # Glorot and Bengio (2010)


def _he(fan_in: int, fan_out: int) -> float:
    return 2.0 / fan_in  # He, Zhang, Ren and Sun (2015)


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1.0 / fan_in  # LeCun, Bottou, Orr and Mueller (1998)


_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": _glorot,
    "he": _he,
    "lecun": _lecun,
    "orthogonal": lambda fan_in, fan_out: 1.0 / max(fan_in, fan_out),
}


def variance_of(init: str, fan_in: int, fan_out: int) -> float:
    """Variance of the weights that an initialiser of `INITIALIZERS` draws."""
    return _VARIANCES[init.partition("_")[0]](fan_in, fan_out)


INITIALIZERS: dict[str, Callable[..., np.ndarray]] = {
    "glorot_uniform": _uniform(_glorot),
    "glorot_normal": _normal(_glorot),
    "he_uniform": _uniform(_he),
    "he_normal": _normal(_he),
    "lecun_uniform": _uniform(_lecun),
    "lecun_normal": _normal(_lecun),
    "orthogonal": _orthogonal,
}
