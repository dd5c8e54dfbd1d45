r"""Prediction intervals that cover: split conformal prediction for any regressor.

An estimator is fitted to some rows; on the others, the calibration rows, one looks at
how far outcomes lie outside what it predicts, and widens its predictions by a quantile
of that. Whatever the estimator, a new row from the same population then falls into its
interval with the probability asked for.

Letters: n rows, q columns of predictions, G calibration groups (or rows, without
groups).
"""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    RegressorMixin,
    # Not documented, but what every third-party estimator validates parameters by.
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import (
    _safe_indexing,
    check_array,
    get_tags,
    indexable,
)
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import (
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
    validate_data,
)

from .arrays import as_numpy
from .assembly import draw_seed, group_codes
from .guarding import keeps_state
from .resampling import hold_out

# Levels such as .95 are not exact in binary: 20 * .95 must count as 19.
_ROUNDING = 1e-9


class TooFewCalibrationRows(UserWarning):
    """There are fewer calibration rows, or groups, than an interval needs."""


class ConformalRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Prediction intervals around any regressor, by split conformal prediction.

    `fit` fits a clone of the estimator to some of the rows and keeps the others for
    calibration. If the estimator predicts one number, its interval is that number plus
    and minus a quantile of the absolute errors on the calibration rows, equally wide
    everywhere. If it predicts several quantiles, as a network with
    ``loss="quantile", quantile=(.05, .95)`` does, its interval is the lowest and the
    highest of them, both moved by a quantile of how far outcomes lie outside:
    conformalised quantile regression, wide where outcomes spread and narrow where they
    do not.

    A new row from the population of the calibration rows lies within its interval with
    probability `conf_level` or a little more, however wrong the estimator is. That is
    an average over rows, not a promise for each value of X.

    Parameters
    ----------
    estimator : estimator
        A regressor for one target, a Pipeline or search that ends in one, or a fitted
        one as ``sklearn.frozen.FrozenEstimator(fitted)``. With the latter all rows
        given to `fit` are calibration rows, which must not be those it was fitted to.
        That is the way for sample weights and for splits of your own.
    calibration_fraction : float, default=0.25
        Share of the rows, or of the groups, kept for calibration. More of them make
        coverage vary less from sample to sample, fewer leave more to fit.
    random_state : int, RandomState instance or None, default=None
        Decides which rows these are. The estimator keeps a `random_state` of its own.

    Attributes
    ----------
    estimator_ : fitted estimator
    calibration_rows_ : ndarray of int of shape (n_calibration,)
        Numbers of the rows of `fit` kept for calibration, ascending.
    scores_ : ndarray of shape (n_calibration,)
        How far each of their outcomes lies outside what is predicted, in units of y;
        negative where it lies between the predicted quantiles.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where X had names.

    See Also
    --------
    ANNRegressor : ``loss="quantile"`` with several levels, which never cross.

    References
    ----------
    Papadopoulos, H., Proedrou, K., Vovk, V. and Gammerman, A. (2002). Inductive
    Confidence Machines for Regression. ECML. https://doi.org/10.1007/3-540-36755-1_29

    Romano, Y., Patterson, E. and Candes, E. J. (2019). Conformalized Quantile
    Regression. NeurIPS 32. https://arxiv.org/abs/1905.03222

    Lee, Y., Barber, R. F. and Willett, R. (2023). Distribution-free inference with
    hierarchical data. https://arxiv.org/abs/2306.06342

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ann import ANNRegressor, ConformalRegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(size=(800, 1))
    >>> y = rng.normal(size=800) * (0.1 + x[:, 0])  # spreads with x
    >>> network = ANNRegressor(4, "tanh", solver="lbfgs", alpha=0.1, random_state=0,
    ...                        loss="quantile", quantile=(0.05, 0.95))
    >>> conformal = ConformalRegressor(network, random_state=0).fit(x, y)
    >>> narrow, wide = conformal.predict_interval([[0.1], [0.9]], conf_level=0.9)
    >>> bool(2 * (narrow[1] - narrow[0]) < wide[1] - wide[0])
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        calibration_fraction: float = 0.25,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    @keeps_state
    @_fit_context(prefer_skip_nested_validation=False)  # the estimator checks its own
    def fit(self, X: Any, y: Any, *, groups: Any = None) -> ConformalRegressor:
        """Fit the estimator to some rows, and calibrate it on the others.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n, n_features)
            In any form that the estimator takes.
        y : array-like of shape (n,)
        groups : array-like of shape (n,), default=None
            Rows of one group, such as years of one person, are all fitted to or all
            kept for calibration, and every group counts the same there, however many
            rows it has. Intervals then hold for rows of new groups. A network with
            ``early_stopping`` holds out whole groups as well.

        Returns
        -------
        self : ConformalRegressor
            A fit that raises leaves it as it was.

        Raises
        ------
        TypeError
            When the estimator is a classifier.
        ValueError
            When y has several columns, nothing would be left to fit or to calibrate,
            or the estimator does not predict finite numbers.
        """
        X, y = as_numpy(X), as_numpy(y)
        validate_data(self, X, y, skip_check_array=True)  # the estimator checks X
        X, y = indexable(X, _one_target(y))
        groups = None if groups is None else group_codes(as_numpy(groups), len(y))
        to_fit, to_calibrate = self._split(len(y), groups)
        self.estimator_ = self._fitted(X, y, groups, to_fit)
        low, high = _band(self.estimator_.predict(_safe_indexing(X, to_calibrate)))
        self.scores_ = conformity_scores(y[to_calibrate], low, high)
        self.calibration_rows_ = to_calibrate
        self._groups = None if groups is None else groups[to_calibrate]
        return self

    def _split(
        self, n: int, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers of the rows to fit to and of those to calibrate on."""
        if isinstance(self.estimator, FrozenEstimator):
            return np.arange(0), np.arange(n)
        share = self.calibration_fraction
        _check_split(share, n if groups is None else len(np.unique(groups)), groups)
        seed = draw_seed(self.random_state)
        return hold_out(np.arange(n), share, seed, groups=groups)

    def _fitted(
        self, X: Any, y: np.ndarray, groups: np.ndarray | None, rows: np.ndarray
    ) -> Any:
        if is_classifier(self.estimator):
            raise TypeError(
                "ConformalRegressor puts intervals around numbers, so it needs a "
                f"regressor; got the classifier {self.estimator!r}."
            )
        options = {}
        if groups is not None and has_fit_parameter(self.estimator, "groups"):
            options["groups"] = groups[rows]
        return clone(self.estimator).fit(_safe_indexing(X, rows), y[rows], **options)

    def predict(self, X: Any) -> np.ndarray:
        """Predict a number: what the estimator predicts, or the median of quantiles.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            From quantiles, the middle one, or the mean of the middle two.
        """
        check_is_fitted(self)
        return np.median(_columns(self.estimator_.predict(X)), axis=1)

    def predict_interval(self, X: Any, conf_level: float = 0.9) -> np.ndarray:
        """Predict intervals in which outcomes lie with a given probability.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        conf_level : float, default=0.9
            The probability. It may differ from that between the estimator's quantiles:
            intervals still cover, but are moved by the same number everywhere.

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Lower and upper ends; -inf and inf where calibration rows are too few.

        Raises
        ------
        ValueError
            When `conf_level` is not between 0 and 1.

        Warns
        -----
        TooFewCalibrationRows
            When `conf_level` needs more calibration rows, or groups, than there are.
        """
        check_is_fitted(self)
        _check_level(conf_level)
        low, high = _band(self.estimator_.predict(X))
        margin = conformal_quantile(self.scores_, conf_level, self._groups)
        if np.isinf(margin):
            _warn_of_few(self.scores_, conf_level, self._groups)
        return moved(low, high, margin)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        taken = get_tags(self.estimator).input_tags
        tags.input_tags.sparse = taken.sparse
        tags.input_tags.allow_nan = taken.allow_nan
        return tags


def conformity_scores(y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far outcomes lie outside a band: max(low - y, y - high), (n,).

    Negative within the band; the absolute error where the band is one number (Romano,
    Patterson and Candes 2019, section 4).

    Raises
    ------
    ValueError
        When a score is not finite, because a prediction is not.

    Examples
    --------
    >>> conformity_scores(np.array([3.0, 1.5]), np.array([1.0, 1.0]), np.array([2, 2]))
    array([ 1. , -0.5])
    """
    scores = np.maximum(low - y, y - high)
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise ValueError(
            f"The estimator's predictions for {wrong.sum()} of {len(scores)} "
            "calibration rows are not finite numbers, so there is no interval around "
            "them. Look at how its fit ended."
        )
    return scores


def conformal_quantile(
    scores: np.ndarray, conf_level: float, groups: np.ndarray | None = None
) -> float:
    """By how much a band must be widened to cover a new row with some probability.

    Without groups, the k-th smallest of n scores, k = ceil((n + 1) conf_level): the
    score of a new row is as likely to be at any place among the n + 1 (Romano,
    Patterson and Candes 2019, section 4). With groups, the same quantile of the
    scores' distribution with weight 1 / (G + 1) for each group, shared equally by its
    rows, and 1 / (G + 1) at infinity (Lee, Barber and Willett 2023).

    Parameters
    ----------
    scores : ndarray of shape (n,)
    conf_level : float
    groups : ndarray of shape (n,), default=None

    Returns
    -------
    float
        Infinite where n, or G, is less than conf_level / (1 - conf_level).

    Examples
    --------
    >>> scores = np.arange(1.0, 20.0)  # 19 rows are just enough for 95%
    >>> conformal_quantile(scores, 0.95), conformal_quantile(scores[:-1], 0.95)
    (19.0, inf)
    """
    order = np.argsort(scores)
    weight, n_groups = np.ones(len(scores)), len(scores)
    if groups is not None:
        _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        weight, n_groups = 1.0 / sizes[of_row], len(sizes)
    needed = (conf_level - _ROUNDING) * (n_groups + 1)
    k = np.searchsorted(np.cumsum(weight[order]), needed)
    return float(scores[order[k]]) if k < len(scores) else np.inf


def moved(low: np.ndarray, high: np.ndarray, margin: float) -> np.ndarray:
    """Move both ends of a band out by a margin: intervals (n, 2).

    A negative margin narrows them, down to their middle.
    """
    half = np.maximum((high - low) / 2 + margin, 0.0)
    return ((low + high) / 2)[:, None] + half[:, None] * np.array([-1.0, 1.0])


def _band(predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest prediction of each row; the same where there is one."""
    columns = _columns(predicted)
    return columns.min(axis=1), columns.max(axis=1)


def _columns(predicted: Any) -> np.ndarray:
    """Predictions as floats of shape (n, q)."""
    predicted = np.asarray(as_numpy(predicted), dtype=np.float64)
    return predicted.reshape(len(predicted), -1)


def _one_target(y: Any) -> np.ndarray:
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"ConformalRegressor takes one target, got y of shape {y.shape}. Use one "
            "ConformalRegressor for each column."
        )
    return column_or_1d(y, warn=True)


def _check_split(share: float, n_units: int, groups: np.ndarray | None) -> None:
    """Raise where nothing would be left to fit to."""
    kept = math.ceil(share * n_units)
    if kept >= n_units:
        unit = "samples" if groups is None else "groups"
        raise ValueError(
            f"calibration_fraction={share} with n_{unit} = {n_units} keeps {kept} for "
            "calibration and leaves none to fit to. Give more rows, or a smaller "
            "calibration_fraction, or an estimator that has been fitted to other rows, "
            "as FrozenEstimator(fitted)."
        )


def _check_level(conf_level: Any) -> None:
    if not isinstance(conf_level, Real) or not 0 < float(conf_level) < 1:
        raise ValueError(
            f"conf_level must be a number between 0 and 1, such as 0.9; got "
            f"{conf_level!r}."
        )


def _warn_of_few(
    scores: np.ndarray, conf_level: float, groups: np.ndarray | None
) -> None:
    found = len(scores) if groups is None else len(np.unique(groups))
    unit = "rows" if groups is None else "groups"
    needed = math.ceil(conf_level / (1 - conf_level) - _ROUNDING)
    highest = math.floor(1000 * found / (found + 1)) / 1000
    warnings.warn(
        f"conf_level={conf_level} needs {needed} calibration {unit} or more, and there "
        f"are {found}: only the whole line is sure to cover, so all intervals go from "
        f"-inf to inf. Give more {unit}, a larger calibration_fraction, or a "
        f"conf_level of no more than {highest}.",
        TooFewCalibrationRows,
        stacklevel=3,
    )
