"""Losses as values: one frozen dataclass of functions per loss, in one table.

`make_loss` hands them out. To add a loss, write its builder and enter it in
``LOSSES``; the tests read the table.

Conventions
-----------
======  ============  ==============================================================
raw     (..., n, m)   network output on the link scale; ``...`` is any number of
                      leading axes: none, (K,), (steps, K)
y       (..., n, my)  targets: raw's dtype, or int64 class codes with my = 1
out     (..., n, m)   receives the gradient; never raw or y itself
mu      (..., n, m)   prediction: the inverse link of raw
weight  (n,)          row weights of one network; rows of weight zero are never read
======  ============  ==============================================================

Functions of raw work in PyTorch on any device and are unweighted: weights and means
belong to the training loop. `start` and `d2` see the rows of one network, work in
NumPy and float64, and use rows only through weighted sums and weighted order
statistics: a weight of two is a row written twice. Row losses are sums over outputs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from .locations import Array, OfArrays, counted, huber_location, mean, quantiles

OfTensors: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# Guards that keep a start finite; a prevalence or a mean inside them is not touched.
_SMALLEST_PREVALENCE = 1e-6
_SMALLEST_MEAN = 1e-10
# Targets are standardised: 1e-3 is a thousandth of their standard deviation. From a
# smaller gap between two quantiles softplus is too flat to open it again.
_SMALLEST_GAP = 1e-3
# A number, or a tensor of another dtype, costs a call 1 to 3 us more than a tensor of
# the same dtype that holds it.
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_HALF = {dtype: torch.tensor(0.5, dtype=dtype) for dtype in _DTYPES}
# torch.softmax costs 0.15 us for each row of few classes on one core, four calls over
# all rows 6 us in all: 35 against 10.5 us for (200, 10), 2.7 against 6 us for (32, 3).
_FUSED_SOFTMAX_ROWS = 64
# F.softplus is linear above its threshold; at 40 it differs by less than float64's eps.
_SOFTPLUS_LINEAR = 40.0


def _same(number: Any) -> Any:
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One loss: everything that training and scoring need to know about it.

    Two losses are equal when name and parameters are, and they pickle as these.

    Attributes
    ----------
    name, parameters : str and tuple of (str, value)
        Key in ``LOSSES`` and arguments of the builder, e.g. ``(("delta", 1.35),)``.
    gradient : callable (raw, y, out) -> out
        Writes the derivative of the row losses in raw into `out`, (..., n, m).
    values : callable (raw, y) -> tensor (..., n)
        Row losses, in a new tensor.
    curvature : callable (raw, y) -> tensor (..., n, m, m), or None
        Hessian of each row loss in raw, for reading only (it may be a broadcast
        view); None where it says nothing about the minimum.
    inverse_link : callable (raw) -> tensor (..., n, m)
        Prediction on the scale of the response, in a new tensor; differentiable.
    n_raw : callable (my) -> int
        Number of raw outputs for my target columns; ValueError where my is wrong.
    y_dtype : {"float", "int64"}
        Whether y has the dtype of raw or is class codes.
    scales_target : bool
        Whether targets are standardised for training.
    smooth, diagonal : bool
        Whether the row loss is twice differentiable in raw everywhere; whether its
        Hessian is diagonal.
    constant, link : callables (y (n, my), weight (n,)) -> (m,) and (m,) -> (m,)
        Best constant prediction, and the link that takes it to the scale of raw.
    columns : callable (y, mu) -> (n, m), or None for class labels
        Loss of each column that `d2` compares.
    baseline : callable like `constant`, or None where it is `constant`
        Best constant prediction for `columns`.
    expects, holds, advice : str, callable (y) -> bool, str
        What `check` asks of y beyond real and finite, and what it tells the user.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor] = field(compare=False)
    values: OfTensors = field(compare=False)
    curvature: OfTensors | None = field(default=None, compare=False)
    inverse_link: Callable[[Tensor], Tensor] = field(default=torch.clone, compare=False)
    n_raw: Callable[[int], int] = field(default=_same, compare=False)
    y_dtype: Literal["float", "int64"] = field(default="float", compare=False)
    scales_target: bool = field(default=False, compare=False)
    smooth: bool = field(default=True, compare=False)
    diagonal: bool = field(default=True, compare=False)
    constant: OfArrays = field(compare=False)
    link: Callable[[Array], Array] = field(default=_same, compare=False)
    columns: OfArrays | None = field(default=None, compare=False)
    baseline: OfArrays | None = field(default=None, compare=False)
    expects: str = field(default="finite real targets", compare=False)
    holds: Callable[[Array], Any] = field(default=lambda y: True, compare=False)
    advice: str = field(default="Drop or mend such rows.", compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _build, (self.name, self.parameters)

    def start(self, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Intercept of the best constant prediction: (m,), float64, on the CPU."""
        w, rows = counted(None if weight is None else weight.cpu(), y.cpu())
        return torch.from_numpy(self.link(self.constant(rows, w)))

    def check(self, y: ArrayLike) -> None:
        """Raise ValueError where targets (n,) or (n, my) do not suit the loss."""
        y = np.asarray(y)
        if y.dtype.kind not in "fiub" or y.size == 0:
            came = f"an array of shape {y.shape} and dtype {y.dtype}"
        elif not np.isfinite(y).all():
            came = f"{np.count_nonzero(~np.isfinite(y))} values that are nan or inf"
        elif not self.holds(y):
            came = f"values from {y.min():.6g} to {y.max():.6g}"
        else:
            return
        raise ValueError(
            f"Loss {self.name!r} expects {self.expects}; got {came}. {self.advice}"
        )

    def d2(
        self, y: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None
    ) -> float:
        """``1 - mean loss / mean loss of the best constant``, averaged over columns.

        Hastie, Tibshirani & Wainwright (2015), Statistical Learning with Sparsity,
        eq. 3.11. Arrays are (n,) or (n, m), on the scale of the response. As in
        scikit-learn, a constant y gives 1 if met, else 0, and fewer than two rows
        (of positive weight) give nan.
        """
        assert self.columns is not None, f"{self.name} has no D2"
        w, rows, mu = counted(weight, y, prediction)
        if len(w) < 2:
            return float("nan")
        ours = np.average(self.columns(rows, mu), axis=0, weights=w)
        baseline = (self.baseline or self.constant)(rows, w)
        best = np.average(self.columns(rows, baseline), axis=0, weights=w)
        unmet = np.where(ours == 0, 0.0, 1.0)
        return float(np.mean(1.0 - np.divide(ours, best, out=unmet, where=best > 0)))


def _row_sum(elements: Tensor) -> Tensor:
    """Sum over outputs, (..., n, m) to (..., n); one output costs no sum."""
    return elements.squeeze(-1) if elements.shape[-1] == 1 else elements.sum(-1)


# ------------------------------------------------------ location losses, own scale


def _squared_error() -> Loss:
    """Half the squared residual, ``(raw - y)^2 / 2``."""

    def curvature(raw: Tensor, y: Tensor) -> Tensor:
        m = raw.shape[-1]
        return torch.eye(m, dtype=raw.dtype, device=raw.device).expand(*raw.shape, m)

    return Loss(
        name="squared_error",
        gradient=lambda raw, y, out: torch.sub(raw, y, out=out),
        values=lambda raw, y: _row_sum((raw - y).square_()).mul_(_HALF[raw.dtype]),
        curvature=curvature,
        scales_target=True,
        constant=mean,
        columns=lambda y, mu: np.square(y - mu),
    )


def _absolute_error() -> Loss:
    """``|raw - y|``; at the kink the gradient is the subgradient zero."""
    return Loss(
        name="absolute_error",
        gradient=lambda raw, y, out: torch.sub(raw, y, out=out).sign_(),
        values=lambda raw, y: _row_sum((raw - y).abs()),
        scales_target=True,
        smooth=False,
        constant=quantiles((0.5,)),
        columns=lambda y, mu: np.abs(y - mu),
    )


def _huber(delta: float) -> Loss:
    """``e^2 / 2`` for ``|e| <= delta``, else ``delta (|e| - delta / 2)``, e = raw - y.

    Huber (1964), Annals of Mathematical Statistics 35(1), doi:10.1214/aoms/1177703732.
    `delta` is in the units of the targets as trained, so a D2 of this loss would change
    with the user's units: the score is R2, whose best constant is the mean.
    """
    if not 0 < delta < float("inf"):
        raise ValueError(
            f"Loss 'huber' expects a finite delta above zero; got {delta!r}. "
            "Use delta=1.35 for 95% efficiency under normal errors."
        )
    return Loss(
        name="huber",
        parameters=(("delta", float(delta)),),
        gradient=lambda raw, y, out: torch.sub(raw, y, out=out).clamp_(-delta, delta),
        values=lambda raw, y: _row_sum(F.huber_loss(raw, y, "none", delta)),
        curvature=lambda raw, y: torch.diag_embed(
            ((raw - y).abs() <= delta).to(raw.dtype)
        ),
        scales_target=True,
        smooth=False,
        constant=huber_location(delta),
        columns=lambda y, mu: np.square(y - mu),
        baseline=mean,
    )


# ---------------------------------------------------------------------- quantiles


def _quantile(quantile: tuple[float, ...]) -> Loss:
    """Pinball loss, ``max(e, 0) - level e`` with e = mu - y, summed over levels.

    Koenker & Bassett (1978), Econometrica 46(1), doi:10.2307/1913643.
    """
    if not (
        quantile
        and all(isinstance(level, float) and 0 < level < 1 for level in quantile)
        and all(np.diff(quantile) > 0)
    ):
        raise ValueError(
            "Loss 'quantile' expects quantile to be a level between 0 and 1 (both "
            f"excluded), or several in increasing order; got {quantile!r}. "
            "Use for example quantile=0.5 or quantile=(0.1, 0.5, 0.9)."
        )
    if len(quantile) > 1:
        return _several_quantiles(quantile)
    (level,) = quantile

    def values(raw: Tensor, y: Tensor) -> Tensor:
        e = raw - y
        return _row_sum(torch.sub(e.relu(), e, alpha=level))

    return Loss(
        name="quantile",
        parameters=(("quantile", quantile),),
        gradient=lambda raw, y, out: torch.gt(raw, y, out=out).sub_(level),
        values=values,
        scales_target=True,
        smooth=False,
        constant=quantiles(quantile),
        columns=lambda y, mu: np.maximum(mu - y, 0.0) - level * (mu - y),
    )


def _several_quantiles(levels: tuple[float, ...]) -> Loss:
    """One target column; ``mu_j = raw_0 + sum_{0 < i <= j} softplus(raw_i)``.

    So quantiles cannot cross, and the derivative of the loss in raw_i is
    ``sum_{j >= i} dloss / dmu_j``, for i > 0 times ``sigmoid(raw_i)``.
    """

    def ascending(raw: Tensor) -> Tensor:
        gaps = F.softplus(raw[..., 1:], 1.0, _SOFTPLUS_LINEAR)
        return torch.cat([raw[..., :1], gaps], -1).cumsum(-1)

    def gradient(raw: Tensor, y: Tensor, out: Tensor) -> Tensor:
        torch.gt(ascending(raw), y, out=out).sub_(_row(levels, raw.dtype, raw.device))
        out.copy_(out.flip(-1).cumsum(-1).flip(-1))
        out[..., 1:].mul_(raw[..., 1:].sigmoid())
        return out

    def values(raw: Tensor, y: Tensor) -> Tensor:
        e = ascending(raw) - y
        level = _row(levels, raw.dtype, raw.device)
        return torch.addcmul(e.relu(), level, e, value=-1).sum(-1)

    def link(mu: Array) -> Array:
        gaps = np.maximum(np.diff(mu), _SMALLEST_GAP)
        return np.append(mu[:1], gaps + np.log(-np.expm1(-gaps)))

    def n_raw(my: int) -> int:
        if my != 1:
            raise ValueError(
                f"Several quantiles need one target column; got {my}. "
                "Fit one model per column, or ask for one quantile."
            )
        return len(levels)

    return Loss(
        name="quantile",
        parameters=(("quantile", levels),),
        gradient=gradient,
        values=values,
        # A parallel cumulative sum may round two equal neighbours apart.
        inverse_link=lambda raw: ascending(raw).cummax(-1).values,
        n_raw=n_raw,
        scales_target=True,
        smooth=False,
        diagonal=False,
        constant=quantiles(levels),
        link=link,
        columns=lambda y, mu: np.maximum(mu - y, 0.0) - np.array(levels) * (mu - y),
    )


@cache
def _row(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Constants as a tensor (q,), made once: a copy to a GPU would wait for it."""
    with torch.inference_mode(False):  # else autograd could not use it later
        return torch.tensor(values, dtype=dtype, device=device)


# ------------------------------------------------- positive responses, log link


def _log_of_mean(mean: Array) -> Array:
    return np.asarray(np.log(np.maximum(mean, _SMALLEST_MEAN)))


def _positive(mu: Array) -> Array:
    """Predictions that under- or overflowed are put back on the edge of float64."""
    limits = np.finfo(np.float64)
    return np.clip(mu, limits.tiny, limits.max)


def _finite_exp(raw: Tensor) -> Tensor:
    """exp(raw); beyond the largest number, one that is nearly that large."""
    return raw.clamp(max=math.log(torch.finfo(raw.dtype).max) - 1e-3).exp()


def _poisson() -> Loss:
    """Half the deviance, ``y log(y / mu) - y + mu`` with mu = exp(raw).

    McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., section 2.3.
    """

    def values(raw: Tensor, y: Tensor) -> Tensor:
        mu_less_y_raw = torch.addcmul(raw.exp(), y, raw + 1.0, value=-1)
        return _row_sum(mu_less_y_raw + torch.xlogy(y, y))

    def columns(y: Array, mu: Array) -> Array:
        mu = _positive(mu)
        log_y = np.log(np.where(y > 0, y, 1.0))
        return np.asarray(y * (log_y - np.log(mu)) - y + mu)

    return Loss(
        name="poisson",
        gradient=lambda raw, y, out: torch.exp(raw, out=out).sub_(y),
        values=values,
        curvature=lambda raw, y: torch.diag_embed(raw.exp()),
        inverse_link=_finite_exp,
        constant=mean,
        link=_log_of_mean,
        columns=columns,
        expects="targets of at least zero, with a positive sum in every column",
        holds=lambda y: (y >= 0).all() and (y.sum(axis=0) > 0).all(),
        advice="Drop such rows or columns, or use loss='squared_error'.",
    )


def _gamma() -> Loss:
    """Half the deviance, ``y / mu - log(y / mu) - 1`` with mu = exp(raw).

    McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., section 2.3.
    """

    def gradient(raw: Tensor, y: Tensor, out: Tensor) -> Tensor:
        torch.exp(raw, out=out)
        return torch.div(y, out, out=out).neg_().add_(1.0)

    def values(raw: Tensor, y: Tensor) -> Tensor:
        log_ratio = y.log() - raw
        return _row_sum(log_ratio.expm1() - log_ratio)

    def columns(y: Array, mu: Array) -> Array:
        mu = _positive(mu)
        return np.asarray(y / mu - (np.log(y) - np.log(mu)) - 1.0)

    return Loss(
        name="gamma",
        gradient=gradient,
        values=values,
        curvature=lambda raw, y: torch.diag_embed(y * raw.neg().exp()),
        inverse_link=_finite_exp,
        constant=mean,
        link=_log_of_mean,
        columns=columns,
        expects="targets above zero",
        holds=lambda y: (y > 0).all(),
        advice="Drop such rows, or use loss='poisson', which allows zeros.",
    )


# ------------------------------------------------------------------------ classes


def _log_loss() -> Loss:
    """``log(1 + exp(raw)) - y raw`` for each label: logit, binary or multilabel."""

    def link(prevalence: Array) -> Array:
        p = np.clip(prevalence, _SMALLEST_PREVALENCE, 1.0 - _SMALLEST_PREVALENCE)
        return np.asarray(np.log(p) - np.log1p(-p))

    return Loss(
        name="log_loss",
        gradient=lambda raw, y, out: torch.sigmoid(raw, out=out).sub_(y),
        values=lambda raw, y: _row_sum(
            F.binary_cross_entropy_with_logits(raw, y, reduction="none")
        ),
        # 1 - sigmoid(raw) would round to zero from raw = 37 on.
        curvature=lambda raw, y: torch.diag_embed(raw.sigmoid() * raw.neg().sigmoid()),
        inverse_link=torch.sigmoid,
        constant=mean,
        link=link,
        expects="targets from 0 to 1",
        holds=lambda y: ((y >= 0) & (y <= 1)).all(),
        advice="Encode the labels as 0 and 1, one column for each.",
    )


def _softmax(raw: Tensor, out: Tensor | None = None) -> Tensor:
    """Softmax over outputs; without `out` in a new tensor, differentiable."""
    if raw.device.type != "cpu" or raw.shape[:-1].numel() <= _FUSED_SOFTMAX_ROWS:
        return torch.softmax(raw, -1, out=out)
    shifted = torch.sub(raw, raw.detach().amax(-1, keepdim=True), out=out)
    powers = torch.exp(shifted, out=out)
    return torch.div(powers, powers.sum(-1, keepdim=True), out=out)


def _multinomial(n_classes: int | None) -> Loss:
    """``log sum_c exp(raw_c) - raw_y``: multinomial logit, a column for every class.

    Codes y are used as indices, also in rows that do not count.
    """
    if n_classes is None or n_classes < 2:
        raise ValueError(
            f"Loss 'multinomial' expects n_classes of at least 2; got {n_classes!r}. "
            "Use loss='log_loss' for a single column of 0 and 1."
        )

    def gradient(raw: Tensor, y: Tensor, out: Tensor) -> Tensor:
        return _softmax(raw, out).scatter_(-1, y, -1.0, reduce="add")

    def values(raw: Tensor, y: Tensor) -> Tensor:
        shifted = raw - raw.detach().amax(-1, keepdim=True)
        return shifted.exp().sum(-1).log() - shifted.gather(-1, y).squeeze(-1)

    def curvature(raw: Tensor, y: Tensor) -> Tensor:
        p = _softmax(raw)
        return torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)

    def constant(y: Array, w: Array) -> Array:
        totals = np.bincount(y[:, 0].astype(np.int64), w, minlength=n_classes)
        return np.asarray(totals / w.sum())

    def link(p: Array) -> Array:
        logs = np.log(np.maximum(p, _SMALLEST_PREVALENCE))
        return np.asarray(logs - logs.mean())

    def n_raw(my: int) -> int:
        if my != 1:
            raise ValueError(
                f"Loss 'multinomial' needs one column of class codes; got {my}. "
                "Use loss='log_loss' for several labels."
            )
        return n_classes

    return Loss(
        name="multinomial",
        parameters=(("n_classes", n_classes),),
        gradient=gradient,
        values=values,
        curvature=curvature,
        inverse_link=_softmax,
        n_raw=n_raw,
        y_dtype="int64",
        diagonal=False,
        constant=constant,
        link=link,
        expects=f"class codes 0, ..., {n_classes - 1}",
        holds=lambda y: np.isin(y, np.arange(n_classes)).all(),
        advice="Encode the classes as codes first.",
    )


# ---------------------------------------------------------------------- the table

# name: (builder, names of the arguments of make_loss that it takes)
LOSSES: dict[str, tuple[Callable[..., Loss], tuple[str, ...]]] = {
    "squared_error": (_squared_error, ()),
    "absolute_error": (_absolute_error, ()),
    "huber": (_huber, ("delta",)),
    "quantile": (_quantile, ("quantile",)),
    "poisson": (_poisson, ()),
    "gamma": (_gamma, ()),
    "log_loss": (_log_loss, ()),
    "multinomial": (_multinomial, ("n_classes",)),
}


@cache
def _build(name: str, parameters: tuple[tuple[str, Any], ...]) -> Loss:
    return LOSSES[name][0](**dict(parameters))


def make_loss(
    name: str,
    *,
    quantile: ArrayLike | None = None,
    delta: float = 1.35,
    n_classes: int | None = None,
) -> Loss:
    """Return the loss of that name; equal arguments give the same value.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``.
    quantile : float or sequence of floats, default=None
        Level, or increasing levels, of ``"quantile"``.
    delta : float, default=1.35
        Threshold of ``"huber"``, in the units of the targets as trained.
    n_classes : int, default=None
        Number of classes of ``"multinomial"``.

    Returns
    -------
    Loss
        Arguments that this loss does not take are not looked at.

    Examples
    --------
    >>> make_loss("quantile", quantile=[0.1, 0.9]).n_raw(1)
    2
    """
    if name not in LOSSES:
        raise ValueError(
            f"Unknown loss {name!r}; expected one of {', '.join(map(repr, LOSSES))}."
        )
    given = {
        "quantile": tuple(np.ravel(quantile).tolist()),  # type: ignore[arg-type]
        "delta": delta,
        "n_classes": n_classes,
    }
    return _build(name, tuple((p, given[p]) for p in LOSSES[name][1]))
