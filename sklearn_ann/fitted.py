"""What a fitted estimator shows: its weights, and how it was trained."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .assembly import Memory
from .engine.architecture import Parameters
from .engine.fit import Outcome
from .frames import Coding
from .model import Ensemble, collapsed
from .parameters import Plan


class FittedNetworkMixin:
    """Fitted attributes of both estimators; its weights are views."""

    _model: Any
    _coding: Coding | None

    def _keep_record(self, outcome: Outcome, plan: Plan, seed: int) -> None:
        """Keep what the fit went through, and no rows of data."""
        record = outcome.record
        stopping = plan.settings.early_stopping
        self.n_iter_ = outcome.n_iter
        self.t_ = record.rows_seen
        self.loss_ = record.losses[-1]
        self.loss_curve_ = record.losses
        self.best_loss_ = None if stopping else record.best_loss
        self.validation_scores_ = record.scores or None
        self.best_validation_score_ = record.best_score if record.scores else None
        self.learning_rates_ = record.rates
        self._gradient_norms = record.norms
        self.n_layers_ = len(plan.architecture.hidden) + 2
        self.n_parameters_ = plan.architecture.n_parameters
        self.solver_, self.alpha_ = plan.options.name, plan.settings.alpha
        self.batch_size_ = plan.settings.batch_size
        self.device_, self.dtype_ = str(plan.device), str(plan.dtype)[len("torch.") :]
        self.status_ = outcome.status.value
        self.stays_linear_ = outcome.linear
        self.fit_seconds_ = outcome.seconds
        for name in ("_memory", "estimators_"):
            vars(self).pop(name, None)
        if outcome.state is not None:
            self._memory = Memory(seed, outcome.state, plan.kind)

    @property
    def _parameters(self) -> Parameters:
        check_is_fitted(self)
        if isinstance(self._model, Ensemble):
            raise AttributeError(
                "An ensemble has no weights of its own; those of member i are in "
                "estimators_[i]."
            )
        parameters: Parameters = self._model.parameters
        return parameters

    @property
    def is_categorical_(self) -> np.ndarray | None:
        """Which columns are categories, (n_features,) of bool; None where none is."""
        if "_coding" not in vars(self):
            check_is_fitted(self)
        return None if self._coding is None else self._coding.is_categorical

    @property
    def gradient_norms_(self) -> np.ndarray:
        """Norm of the gradient by epoch and layer, (`n_iter_`, `n_layers_` - 1)."""
        check_is_fitted(self)
        return np.array(self._gradient_norms)

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of each layer, (fan_in, fan_out); see `coefs_scale_`."""
        return self._parameters.weights

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Intercepts of each layer, (fan_out,)."""
        return self._parameters.biases

    @property
    def skip_coef_(self) -> np.ndarray:
        """Weights of the linear skip, (n_features, n_raw_outputs)."""
        skip = self._parameters.skip
        if skip is None:
            raise AttributeError(
                "skip_coef_ exists only with linear_skip=True and a hidden layer."
            )
        return skip

    @property
    def coefs_scale_(self) -> str:
        """Units of `coefs_`: "user", or "network" where not all units fold in."""
        check_is_fitted(self)
        self._parameters  # noqa: B018 - raises for an ensemble
        model = self._model
        folds = model.folds_targets and model.folds_inputs and model.design is None
        return "user" if folds else "network"

    @property
    def coef_(self) -> np.ndarray:
        """Coefficients of X where the whole network is linear in it."""
        return self._linear()[0]

    @property
    def intercept_(self) -> Any:
        """Intercept that goes with `coef_`."""
        return self._linear()[1]

    def _linear(self) -> tuple[np.ndarray, Any]:
        check_is_fitted(self)
        single = not isinstance(self._model, Ensemble)
        if single and self._model.design is not None:
            raise AttributeError(
                "coef_ and intercept_ exist only where the network is linear in X, "
                "but here categories, missing values or standardize='robust' make "
                "other columns of those of X first. Coefficients of these are in "
                "coefs_ and in coefficient_table, effects of X itself in "
                "average_marginal_effects."
            )
        found = collapsed(self._model) if single else None
        if found is None:
            raise AttributeError(
                "coef_ and intercept_ exist only where the network is linear in X: "
                "without hidden layer, or with activation='identity'. The weights of "
                "each layer are in coefs_ and intercepts_."
            )
        return self._linear_shapes(*found)

    def _linear_shapes(
        self, coef: np.ndarray, intercept: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        return coef.T, intercept
