"""The constructors: every parameter of the estimators, its default and constraints."""

from __future__ import annotations

import inspect
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from .parameters import CONSTRAINTS, REGRESSION_LOSSES


class RegressorParameters:
    """Parameters of `ANNRegressor`, where they are documented."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(  # type: ignore[no-untyped-def]  # constraints say more than types
        self,
        hidden_layer_sizes=(64, 64),
        activation="gelu",
        *,
        loss="squared_error",
        quantile=0.5,
        huber_delta=1.35,
        solver="auto",
        alpha="auto",
        l1_ratio=0.0,
        batch_size="auto",
        learning_rate="auto",
        learning_rate_init="auto",
        power_t=0.5,
        max_iter="auto",
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping="auto",
        validation_fraction=0.15,
        scoring="loss",
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change="auto",
        max_fun=15_000,
        max_grad_norm=None,
        dropout="auto",
        standardize="auto",
        categorical_features="from_dtype",
        linear_skip="auto",
        numeric_embedding="auto",
        init="auto",
        n_init=1,
        n_estimators="auto",
        device="cpu",
        dtype="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.quantile = quantile
        self.huber_delta = huber_delta
        self.solver = solver
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.max_grad_norm = max_grad_norm
        self.dropout = dropout
        self.standardize = standardize
        self.categorical_features = categorical_features
        self.linear_skip = linear_skip
        self.numeric_embedding = numeric_embedding
        self.init = init
        self.n_init = n_init
        self.n_estimators = n_estimators
        self.device = device
        self.dtype = dtype


class ClassifierParameters:
    """Parameters of `ANNClassifier`, where they are documented."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss"})],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(  # type: ignore[no-untyped-def]  # constraints say more than types
        self,
        hidden_layer_sizes=(64, 64),
        activation="gelu",
        *,
        loss="log_loss",
        class_weight=None,
        solver="auto",
        alpha="auto",
        l1_ratio=0.0,
        batch_size="auto",
        learning_rate="auto",
        learning_rate_init="auto",
        power_t=0.5,
        max_iter="auto",
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping="auto",
        validation_fraction=0.15,
        scoring="loss",
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change="auto",
        max_fun=15_000,
        max_grad_norm=None,
        dropout="auto",
        standardize="auto",
        categorical_features="from_dtype",
        linear_skip="auto",
        numeric_embedding="auto",
        init="auto",
        n_init=1,
        n_estimators="auto",
        device="cpu",
        dtype="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.class_weight = class_weight
        self.solver = solver
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.max_grad_norm = max_grad_norm
        self.dropout = dropout
        self.standardize = standardize
        self.categorical_features = categorical_features
        self.linear_skip = linear_skip
        self.numeric_embedding = numeric_embedding
        self.init = init
        self.n_init = n_init
        self.n_estimators = n_estimators
        self.device = device
        self.dtype = dtype


# `get_params` reads the signature at every call, and a search calls it several times
# for each fit.
for _parameters in (RegressorParameters, ClassifierParameters):
    _init: Any = _parameters.__init__
    _init.__signature__ = inspect.signature(_init)
