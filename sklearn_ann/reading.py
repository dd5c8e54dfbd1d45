"""A fitted estimator, read as a network.

Searches, Pipelines and transformed targets are opened until the estimator inside is
found. If that is one of ours, or a linear model of scikit-learn, which is a network
without hidden layer, what inference needs is put on the table: the network, its loss
and penalty, what stands before it and behind it. Whether the sandwich holds for it is
said as data, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from .arrays import as_numpy
from .design import Design
from .encoding import ClassTarget, RegressionTarget, Scaling, Target
from .engine.architecture import Architecture, Parameters
from .engine.losses import make_loss
from .estimators import ANNClassifier, ANNRegressor
from .model import Ensemble, Model, behind_design, collapsed

# Losses whose predictions are means or probabilities of the target.
MEANS = ("squared_error", "poisson", "gamma", "log_loss", "multinomial")
# The best constant of these is not a mean: no density, no curvature.
QUANTILES = ("absolute_error", "quantile")


@dataclass(frozen=True, slots=True)
class Penalty:
    """L2 penalty on the weights, ``decay / 2`` times the sum of their squares.

    Attributes
    ----------
    alpha : ndarray of shape (m,)
        One number for each output; all the same unless the network is separable.
    of_mean : bool
        Whether alpha stands beside the mean of the losses; else it stands beside their
        sum, and is divided by the sum of the row weights.
    """

    alpha: np.ndarray
    of_mean: bool = False

    def decay(self, total_weight: float) -> np.ndarray:
        """Factor beside the mean of the losses, (m,)."""
        return self.alpha if self.of_mean else self.alpha / total_weight

    def __bool__(self) -> bool:
        return bool(np.any(self.alpha > 0))


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a fitted estimator is, to those who ask for its effects.

    Attributes
    ----------
    estimator : estimator
        As given.
    core : estimator
        The innermost one.
    transformers : tuple of Pipeline and DesignStep
        What stands before it, the outermost first.
    target_transformer : transformer or None
        What its target went through.
    model : Model, Ensemble or None
        None where it is no network.
    target : Target or None
        How y becomes numbers.
    penalty : Penalty
    has_intercept : bool
    weights_by_class : callable (y, weight) -> weight, or None
        Class weights times sample weights.
    invalid : str
        Why the sandwich does not hold for this fit, whatever the data; empty where
        that depends on them.
    way_out : str
        What to do about it.
    """

    estimator: Any
    core: Any
    transformers: tuple[Any, ...] = ()
    target_transformer: Any = None
    model: Any = None
    target: Any = None
    penalty: Penalty = Penalty(np.zeros(1))
    has_intercept: bool = True
    weights_by_class: Callable[[np.ndarray, Any], Any] | None = None
    invalid: str = ""
    way_out: str = ""

    @property
    def kind(self) -> Literal["network", "ensemble", "other"]:
        """What it is: one network, several, or something else."""
        if self.model is None:
            return "other"
        return "ensemble" if isinstance(self.model, Ensemble) else "network"

    @property
    def is_linear(self) -> bool:
        """Whether it is one network without hidden layer."""
        return self.kind == "network" and self.model.architecture.linear

    @property
    def is_mean(self) -> bool:
        """Whether it predicts means or probabilities."""
        return self.model is None or self.model.loss.name in MEANS

    @property
    def classes(self) -> np.ndarray | None:
        """Labels, where it is a classifier."""
        return self.core.classes_ if is_classifier(self.core) else None

    def transform(self, X: Any) -> np.ndarray | sp.csr_array:
        """Take raw rows to what the innermost estimator sees, checked by it."""
        for transformer in self.transformers:
            X = transformer.transform(X)
        if self.transformers and isinstance(self.transformers[-1], DesignStep):
            return np.asarray(X)
        return checked_inputs(self.core, X)

    def encode(self, y: Any) -> np.ndarray:
        """Turn targets into the engine's numbers (n, my)."""
        return encoded_target(self, y)

    def row_weights(self, y: Any, weight: np.ndarray) -> np.ndarray:
        """Weights of the fit: sample weights times class weights, (n,)."""
        if self.weights_by_class is None:
            return weight
        return np.asarray(self.weights_by_class(np.asarray(as_numpy(y)), weight))


def read(estimator: Any) -> Reading:
    """Open an estimator until its innermost part is found, and read that.

    Parameters
    ----------
    estimator : fitted estimator
        Any; searches must have been fitted with ``refit=True``.

    Returns
    -------
    Reading

    Raises
    ------
    sklearn.exceptions.NotFittedError
        When it has not been fitted.
    """
    if not hasattr(estimator, "fit"):
        raise TypeError(
            "Expected a fitted estimator: an ANNRegressor, an ANNClassifier, a "
            f"Pipeline that ends in one, or another of scikit-learn; got {estimator!r}."
        )
    core, transformers, target_transformer = opened(estimator)
    check_is_fitted(core)
    reading = Reading(estimator, core, transformers, target_transformer)
    for kinds, reader in READERS:
        if type(core) in kinds or (reader is _ours and isinstance(core, kinds)):
            return reader(reading)
    return replace(
        reading,
        invalid=f"{type(core).__name__} is not a network",
        way_out="use vcov='debiased', which serves any estimator",
    )


def opened(estimator: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Return the innermost estimator, the transformers before it, and its target's."""
    transformers: list[Any] = []
    target_transformer = None
    while True:
        check_is_fitted(estimator)
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            if len(estimator.steps) > 1:
                transformers.append(estimator[:-1])
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, TransformedTargetRegressor):
            if target_transformer is not None:
                raise TypeError(
                    "Expected one TransformedTargetRegressor, got one within another. "
                    "Write both transformations as one."
                )
            target_transformer = estimator.transformer_
            estimator = estimator.regressor_
        else:
            return estimator, tuple(transformers), target_transformer


# ------------------------------------------------------------------- our own networks


@dataclass(frozen=True, slots=True, eq=False)
class DesignStep:
    """The design within a fitted network, as the last transformer before it.

    Attributes
    ----------
    core : ANNRegressor or ANNClassifier
    design : Design
    """

    core: Any
    design: Design

    def transform(self, X: Any) -> np.ndarray:
        """Take rows as the estimator does to what its network sees, (n, columns)."""
        X = self.core._checked_X(X)
        return self.design.matrix(X.toarray() if sp.issparse(X) else X)

    def get_feature_names_out(self, names: Any = None) -> list[str]:
        """Names of these columns."""
        if names is None:
            unnamed = [f"x{j}" for j in range(self.core.n_features_in_)]
            names = getattr(self.core, "feature_names_in_", unnamed)
        coding = self.core._coding
        return self.design.names(names, [] if coding is None else coding.levels)


@dataclass(frozen=True, slots=True, eq=False)
class CodedStep(DesignStep):
    """The same for rows that another fit of the estimator has checked and coded.

    Attributes
    ----------
    codes : dict of int to ndarray of shape (levels of the other + 1,)
        Own codes by the other's, of each column of categories; last stands a gap's.
    """

    codes: dict[int, np.ndarray]

    def transform(self, X: Any) -> np.ndarray:
        """Take coded rows to what the network sees, (n, columns)."""
        if self.codes:
            X = np.array(X)
        for j, own in self.codes.items():
            X[:, j] = own[np.nan_to_num(X[:, j], nan=len(own) - 1).astype(np.intp)]
        return self.design.matrix(X)


def behind_codes(reading: Reading, other: Any) -> Reading:
    """Read a network for rows as another fit of the estimator codes them.

    Its last transformer is a `DesignStep`; the other has categories where it has them.
    """
    step: DesignStep = reading.transformers[-1]
    own, codes = step.core._coding, {}
    if own is not None and step.core is not other:
        pairs = zip(own.levels, other._coding.levels, strict=True)
        for j, (levels, others) in zip(
            np.flatnonzero(own.is_categorical).tolist(), pairs, strict=True
        ):
            place = {level: code for code, level in enumerate(levels)}
            found = [place.get(level, np.nan) for level in others]
            codes[j] = np.array([*found, np.nan])
    return replace(reading, transformers=(CodedStep(step.core, step.design, codes),))


def _ours(reading: Reading) -> Reading:
    core = reading.core
    model = core._model
    first = model.models[0] if isinstance(model, Ensemble) else model
    if first.design is not None:
        # A Pipeline of one: members of an ensemble share their design.
        folds = not first.architecture.embeddings
        design = first.design.unscaled if folds else first.design
        step = DesignStep(core, design)
        reading = replace(reading, transformers=(*reading.transformers, step))
        model = behind_design(model)
    model = _plain(model, core.alpha_)
    invalid, way_out = ours_invalid(core)
    weights = None
    if getattr(core, "class_weight", None) is not None:
        weights = lambda y, weight: core._class_weighted(y, weight, core._target)  # noqa: E731
    return replace(
        reading,
        model=model,
        target=core._target,
        penalty=Penalty(np.full(1, float(core.alpha_))),
        weights_by_class=weights,
        invalid=invalid,
        way_out=way_out,
    )


def _plain(model: Any, alpha: float) -> Any:
    """Read linear layers without penalty as the one layer that they amount to.

    Their weights are not determined, their product is.
    """
    if isinstance(model, Ensemble) or alpha > 0 or not model.architecture.hidden:
        return model
    found = collapsed(model)
    if found is None:
        return model
    coef, intercept = found
    architecture = Architecture(len(coef), (), coef.shape[1], ())
    parameters = Parameters([coef], [intercept], None)
    return replace(model, architecture=architecture, parameters=parameters)


def ours_invalid(core: Any) -> tuple[str, str]:
    """Why the sandwich does not hold for one of our fits, and what to do; or blanks."""
    loss = core._model.loss
    several = loss.name == "quantile" and not loss.diagonal
    hidden = core._model.architecture.hidden
    minibatch = core.solver_ != "lbfgs" and core.batch_size_ is not None
    penalised = core.alpha_ > 0
    refit = "refit with solver='lbfgs', or use vcov='bootstrap'"
    reasons = (
        (core.n_estimators_ > 1, "it is an ensemble", "use vcov='bootstrap'"),
        (
            core.early_stopping_,
            "early stopping ends training before the loss is at its minimum",
            "refit with early_stopping=False and solver='lbfgs', or use "
            "vcov='bootstrap'",
        ),
        (
            hidden and core.dropout_ > 0,
            "dropout does not minimise the loss of the network that predicts",
            "refit with dropout=0 and solver='lbfgs', or use vcov='bootstrap'",
        ),
        (
            minibatch,
            f"minibatches (solver={core.solver_!r}, batch_size={core.batch_size_}) "
            "leave noise in the parameters",
            refit,
        ),
        (
            penalised and core.l1_ratio > 0,
            "an L1 penalty has no curvature",
            "refit with l1_ratio=0, or use vcov='bootstrap'",
        ),
        (
            several,
            "several quantiles of one network are not linear in it",
            "fit one quantile at a time, or use vcov='bootstrap'",
        ),
        (
            loss.name in QUANTILES and (bool(hidden) or penalised),
            f"the loss {loss.name!r} has no curvature",
            "use vcov='bootstrap'; without hidden layer and penalty there is a kernel "
            "estimate of it",
        ),
    )
    return next(((why, out) for holds, why, out in reasons if holds), ("", ""))


# -------------------------------------------------------- linear models of scikit-learn


def _linear_model(
    reading: Reading,
    loss: Any,
    target: Target,
    coef: np.ndarray,
    intercept: Any,
    penalty: Penalty,
    invalid: tuple[str, str] = ("", ""),
) -> Reading:
    """Read coefficients (m, d) as a network without hidden layer."""
    m, d = coef.shape
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64), (m,)).copy()
    parameters = Parameters(
        [np.ascontiguousarray(coef.T, dtype=np.float64)], [bias], None
    )
    architecture = Architecture(d, (), m, ())
    return replace(
        reading,
        model=Model(architecture, loss, parameters=parameters),
        target=target,
        penalty=penalty,
        has_intercept=bool(reading.core.fit_intercept),
        invalid=invalid[0],
        way_out=invalid[1],
    )


def _least_squares(reading: Reading) -> Reading:
    core = reading.core
    coef = np.atleast_2d(core.coef_)
    loss = make_loss("squared_error")
    alpha = np.asarray(getattr(core, "alpha", 0.0), dtype=np.float64)
    penalty = Penalty(np.broadcast_to(alpha, (len(coef),)))
    positive = (
        "coefficients that are held positive may lie on the edge",
        "refit with positive=False, or use vcov='bootstrap'",
    )
    return _linear_model(
        reading,
        loss,
        RegressionTarget(loss, len(coef)),
        coef,
        core.intercept_,
        penalty,
        positive if core.positive else ("", ""),
    )


def _log_link(reading: Reading) -> Reading:
    core = reading.core
    loss = make_loss("poisson" if isinstance(core, PoissonRegressor) else "gamma")
    penalty = Penalty(np.full(1, float(core.alpha)), of_mean=True)
    target = RegressionTarget(loss, 1)
    return _linear_model(
        reading, loss, target, core.coef_[None], core.intercept_, penalty
    )


def _logistic(reading: Reading) -> Reading:
    core = reading.core
    target = ClassTarget.of(core.classes_, core.classes_)
    unpenalised = core.penalty is None or np.isinf(core.C)
    alpha = 0.0 if unpenalised else 1.0 / core.C
    found = _linear_model(
        reading,
        target.loss,
        target,
        core.coef_,
        core.intercept_,
        Penalty(np.full(1, alpha)),
        _logistic_invalid(core, bool(alpha)),
    )
    if core.class_weight is None:
        return found
    return replace(found, weights_by_class=_class_weighted(core))


def _logistic_invalid(core: Any, penalised: bool) -> tuple[str, str]:
    l1 = core.penalty in ("l1", "elasticnet") or bool(core.l1_ratio)
    if penalised and l1:
        return "an L1 penalty has no curvature", "refit with l1_ratio=0 or C=np.inf"
    if core.solver == "liblinear" and core.fit_intercept:
        return (
            "solver='liblinear' penalises the intercept",
            "refit with solver='lbfgs'",
        )
    return "", ""


def _class_weighted(core: Any) -> Callable[[np.ndarray, Any], np.ndarray]:
    def weighted(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        by_class = compute_class_weight(
            core.class_weight, classes=core.classes_, y=y, sample_weight=weight
        )
        return weight * by_class[np.searchsorted(core.classes_, y)]

    return weighted


# Exact types: LogisticRegressionCV, say, is a LogisticRegression whose penalty stands
# elsewhere.
READERS: tuple[tuple[tuple[type, ...], Callable[[Reading], Reading]], ...] = (
    ((ANNRegressor, ANNClassifier), _ours),
    ((LinearRegression, Ridge), _least_squares),
    ((PoissonRegressor, GammaRegressor), _log_link),
    ((LogisticRegression,), _logistic),
)


# ----------------------------------------------------------------------- rows and units


def checked_inputs(core: Any, X: Any) -> np.ndarray | sp.csr_array:
    """Rows as the innermost estimator takes them: numbers, its columns, no gaps."""
    if isinstance(core, ANNRegressor | ANNClassifier):
        return core._checked_X(X)
    X = validate_data(
        core, as_numpy(X), accept_sparse="csr", dtype=np.float64, reset=False
    )
    return sp.csr_array(X) if sp.issparse(X) else X


def encoded_target(reading: Reading, y: Any) -> np.ndarray:
    """Targets, transformed as in the fit and encoded, (n, my)."""
    y = as_numpy(y)
    y = y.toarray() if sp.issparse(y) else np.asarray(y)
    if reading.target_transformer is not None:
        columns = y if y.ndim == 2 else y[:, None]
        y = np.asarray(reading.target_transformer.transform(columns))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return np.asarray(reading.target.encode(y))


def input_units(
    model: Model, scaling: Callable[[], Scaling], centred: bool
) -> tuple[Scaling, np.ndarray]:
    """Units in which derivatives are taken, and what the penalty sees of a weight.

    The network's own where it has some; else those of the rows, so that a column of
    squares is as well behaved as any other.

    Returns
    -------
    Scaling
    ndarray of shape (d,)
        A weight as penalised, divided by the weight in these units.
    """
    if model.inputs is not None:
        return model.inputs, np.ones(len(model.inputs.scale))
    if model.architecture.embeddings:  # edges and frequencies are in units of their own
        ones = np.ones(model.architecture.n_inputs)
        return Scaling(0.0 * ones, ones), ones
    found = scaling()
    if not centred:
        found = Scaling(np.zeros_like(found.mean), found.scale)
    return found, 1.0 / found.scale
