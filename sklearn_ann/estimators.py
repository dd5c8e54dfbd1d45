"""The two estimators: fit and predict.

They orchestrate; the numbers are made in `assembly`, `fitting` and the engine.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    # Not documented, but what every third-party estimator validates parameters by.
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_X_y,
    column_or_1d,
    estimator_html_repr,
)
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
)
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from . import docstrings
from .arrays import answers_in_kind, as_numpy, is_plain_table
from .assembly import (
    Memory,
    Rows,
    balanced_weights,
    checked_rows,
    draw_seed,
)
from .defaults import decided
from .docstrings import documented
from .encoding import ClassTarget, RegressionTarget, Target, refuse_gaps
from .engine.fit import Outcome, Status
from .engine.losses import Loss, make_loss
from .fitted import FittedNetworkMixin
from .fitting import fit_networks
from .frames import Coding, check_kinds
from .guarding import final_loss, keeps_state, takes_steps, warn_of
from .jobs import Job, assemble
from .members import train_members
from .model import Model
from .notebook import fitted_html
from .parameters import (
    check_dense,
)
from .scouts import requests_of, settled
from .signatures import ClassifierParameters, RegressorParameters
from .states import apart, together


class _BaseANN(FittedNetworkMixin, CallbackSupportMixin, BaseEstimator):
    """What both estimators share: all but their targets and predictions."""

    _model: Any
    _target: Any
    _coding: Coding | None

    @keeps_state
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        groups: Any = None,
        coefs_init: Any = None,
        intercepts_init: Any = None,
    ) -> Any:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Inputs. Missing values are filled and marked, categories encoded (see
            `categorical_features`); a sparse X has neither.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets: numbers, class labels, or an indicator matrix of labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights, not negative. A weight of 2 is the same as the row twice; a
            row of weight 0 is left out.
        X_val, y_val : array-like, default=None
            Validation data in the form of X and y. With them nothing is held out. In a
            search, wrap each in a tuple, ``X_val=(X_val,)``: scikit-learn slices fit
            parameters that happen to be as long as X.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation rows.
        groups : array-like of shape (n_samples,), default=None
            With ``early_stopping``, whole groups are held out.
        coefs_init : list of array-like of shape (fan_in, fan_out), default=None
            Starting weights for each layer, in the units of `coefs_`: those of X and y,
            or of the network where `coefs_scale_` says so.
        intercepts_init : list of array-like of shape (fan_out,), default=None
            Starting intercepts, as in `intercepts_`.

        Returns
        -------
        self : object
            The fitted estimator. A fit that raises, or that Ctrl-C interrupts, leaves
            it as it was; `Checkpoint` keeps what such a fit has done.

        Raises
        ------
        ValueError
            When data, weights, parameters or their combination are not usable; the
            message says what was expected and what came.
        MemoryError
            When there is no memory left, on the CPU or on a GPU; the message says what
            would need less.
        """
        memory = self._memory_to_resume() if self.warm_start else None
        return self._train(
            X,
            y,
            sample_weight,
            memory,
            validation=(X_val, y_val, sample_weight_val),
            groups=groups,
            given=(coefs_init, intercepts_init),
        )

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        memory: Memory | None,
        *,
        incremental: bool = False,
        **options: Any,
    ) -> Any:
        X, y = self._check(X, y, reset=memory is None)
        options["incremental"] = incremental
        asked = decided(
            self,
            X,
            _checked_weight(X, sample_weight),
            incremental=incremental,
            resumes=memory is not None,
        )
        if asked.n_estimators > 1:
            return train_members(self, asked, X, y, sample_weight, memory, options)
        job = assemble(asked, X, y, sample_weight, memory, **options)
        job.watcher.estimator = self
        job.watcher.begin(job.fits, job.even)
        (job,), outcomes = settled([job], fit_networks(requests_of([job])))
        kept = self._keep(job, outcomes)
        job.watcher.end(kept.row, kept.note)
        # A single epoch is all that partial_fit is asked for.
        if not incremental or kept.status is Status.DIVERGED:
            warn_of(kept, asked.max_iter)
        return self

    def _keep(self, job: Job, outcomes: list[Outcome]) -> Outcome:
        """Become fitted: keep the best of a job's outcomes, and return it."""
        best = min(outcomes, key=final_loss)
        self.__dict__.update(job.attributes(best.row))
        self.__dict__.update(job.choices, column_paces_=job.paces)
        self._keep_record(best, job.plan, job.seed)
        return best

    def _partial_fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any = None
    ) -> Any:
        if self.early_stopping is True:
            raise ValueError(
                "partial_fit sees a batch only once, so it cannot hold rows out: it "
                "does not support early_stopping=True."
            )
        return self._train(
            X,
            y,
            sample_weight,
            self._memory_to_resume(),
            classes=classes,
            incremental=True,
        )

    def _memory_to_resume(self) -> Memory | None:
        """Return a copy: the original must survive a fit that fails."""
        if "_model" not in vars(self):
            return None
        if "_memory" in vars(self):
            return copy.deepcopy(self._memory)
        # A cold fit keeps its weights only: solver and generators start afresh.
        return Memory(draw_seed(self.random_state), None)

    def _check(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = as_numpy(X), as_numpy(y)
        check_dense(self.numeric_embedding, X)
        if reset:
            self._coding = Coding.of(X, self.categorical_features)
        options = {
            "accept_sparse": ["csr", "csc"],
            "multi_output": True,
            "y_numeric": isinstance(self, RegressorMixin),
            "dtype": (np.float64, np.float32),
            "ensure_all_finite": "allow-nan",
        }
        if self._coding is None:
            check_kinds(X)
            X, y = validate_data(self, X, y, reset=reset, **options)
        else:
            validate_data(self, X, y, reset=reset, skip_check_array=True)
            X, y = check_X_y(self._coding.encode(X), y, estimator=self, **options)
        refuse_gaps(X)
        y = np.asarray(y.todense()) if sp.issparse(y) else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=isinstance(self, ClassifierMixin))
        return (sp.csr_array(X) if sp.issparse(X) else X), y

    def _weighted(self, X: Any, y: Any, sample_weight: Any, target: Target) -> Rows:
        weight = _checked_weight(X, sample_weight)
        return checked_rows(X, y, self._class_weighted(y, weight, target), target)

    def _class_weighted(
        self, y: np.ndarray, weight: np.ndarray | None, target: Any
    ) -> np.ndarray | None:
        return weight

    def _asked_loss(self, target: Target) -> Loss:
        """Return the loss that the parameters ask for now."""
        return target.loss

    def _attributes(
        self, model: Model, target: Target, row: np.ndarray
    ) -> dict[str, Any]:
        """Attributes that make the estimator ready to predict."""
        return {
            "_model": model.fitted(row),
            "_target": target,
            **self._public_attributes(target),
        }

    def _public_attributes(self, target: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _checked_X(self, X: Any) -> Any:
        if "_model" not in vars(self):  # a look costs less than check_is_fitted
            check_is_fitted(self)
        X = as_numpy(X)
        if self._is_checked(X):
            return X
        check_dense(getattr(self, "numeric_embedding_", None), X)
        options = {
            "accept_sparse": "csr",
            "dtype": (np.float64, np.float32),
            "ensure_all_finite": "allow-nan",
        }
        if self._coding is None:
            check_kinds(X)
            X = validate_data(self, X, reset=False, **options)
        else:
            validate_data(self, X, reset=False, skip_check_array=True)
            X = check_array(self._coding.encode(X), input_name="X", **options)
        refuse_gaps(X)
        return sp.csr_array(X) if sp.issparse(X) else X

    def _is_checked(self, X: Any) -> bool:
        """Whether checks would change nothing, and say nothing, of these rows."""
        speaks = self._coding is not None or hasattr(self, "feature_names_in_")
        return not speaks and is_plain_table(X, self.n_features_in_)

    def _html_repr(self) -> str:
        """Show scikit-learn's diagram, and below it what is fitted.

        scikit-learn asks the outermost estimator only: within Pipelines and searches
        the diagram is theirs.
        """
        return estimator_html_repr(self) + fitted_html(self)

    # Pickles hold plain values and arrays, so that with skops the estimators are the
    # only types to be trusted.
    def __getstate__(self) -> dict[str, Any]:
        return {name: apart(value) for name, value in super().__getstate__().items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: together(v) for name, v in state.items()})

    def __copy__(self) -> Any:
        """Copy shallowly: pieces would be rebuilt, and scorers copy in every epoch."""
        twin: Any = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.numeric_embedding in (None, "auto")
        tags.input_tags.allow_nan = True
        return tags


def _checked_weight(X: Any, sample_weight: Any) -> np.ndarray | None:
    """Return row weights as an array (n,), or say what is wrong with them."""
    if sample_weight is None:
        return None
    return _check_sample_weight(
        as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )


class ANNRegressor(  # noqa: D101 - its docstring is made below
    RegressorMixin, RegressorParameters, _BaseANN
):
    __doc__ = documented(docstrings.REGRESSOR)

    def _learn_target(self, y: np.ndarray, classes: Any) -> RegressionTarget:
        return RegressionTarget(self._asked_loss(), 1 if y.ndim == 1 else y.shape[1])

    def _asked_loss(self, target: Any = None) -> Loss:
        return make_loss(self.loss, quantile=self.quantile, delta=self.huber_delta)

    def _public_attributes(self, target: RegressionTarget) -> dict[str, Any]:
        link = {"poisson": "exp", "gamma": "exp"}
        return {
            "n_outputs_": target.n_columns,
            "out_activation_": link.get(target.loss.name, "identity"),
        }

    def _linear_shapes(
        self, coef: np.ndarray, intercept: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        if coef.shape[1] == 1:
            return coef[:, 0], float(intercept[0])
        return coef.T, intercept

    @available_if(takes_steps)
    @keeps_state
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Take one pass over a batch of data and go on from there at the next call.

        The first call decides the scales of ``standardize``, the levels of categories
        and which columns may miss values: a level that comes later is unknown. Prepare
        the data yourself where the first batch is not like the others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : object
        """
        return self._partial_fit(X, y, sample_weight)

    @answers_in_kind
    def predict(self, X: Any) -> np.ndarray:
        """Predict numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Means, or quantiles (one column a level where several were asked for).
        """
        X = self._checked_X(X)
        predicted = self._model.predict(X)
        return predicted[:, 0] if predicted.shape[1] == 1 else predicted

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the loss that the network explains.

        R2 for squared error and Huber; for the other losses their D2, the share of the
        loss of the best constant that the predictions save (1 is perfect, 0 no better
        than the constant).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        predicted = self.predict(as_numpy(X))
        y = check_array(as_numpy(y), ensure_2d=False, dtype=np.float64)
        check_consistent_length(predicted, y)
        if y.size != len(y) * self.n_outputs_:
            raise ValueError(
                f"y has shape {y.shape}, expected {self.n_outputs_} columns, as in fit."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                as_numpy(sample_weight), y, dtype=np.float64, ensure_non_negative=True
            )
        return self._model.loss.d2(y, predicted, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class ANNClassifier(  # noqa: D101 - its docstring is made below
    ClassifierMixin, ClassifierParameters, _BaseANN
):
    __doc__ = documented(docstrings.CLASSIFIER)

    def _learn_target(self, y: np.ndarray, classes: Any) -> ClassTarget:
        return ClassTarget.of(y, classes)

    def _check(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = super()._check(X, y, reset)
        check_classification_targets(y)
        return X, y

    def _class_weighted(
        self, y: np.ndarray, weight: np.ndarray | None, target: ClassTarget
    ) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        if self.class_weight == "balanced":
            by_class = balanced_weights(y, weight)
        else:
            by_class = compute_sample_weight(self.class_weight, y)
        return by_class if weight is None else by_class * weight

    def _public_attributes(self, target: ClassTarget) -> dict[str, Any]:
        softmax = target.kind == "multiclass"
        return {
            "classes_": target.classes,
            "n_outputs_": 1 if target.kind == "binary" else len(target.classes),
            "out_activation_": "softmax" if softmax else "logistic",
        }

    @available_if(takes_steps)
    @keeps_state
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> Any:
        """Take one pass over a batch of data and go on from there at the next call.

        The first call decides the scales of ``standardize``, the levels of categories
        and which columns may miss values: a level that comes later is unknown. Prepare
        the data yourself where the first batch is not like the others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All classes that any batch may hold; needed in the first call.

        Returns
        -------
        self : object
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs the counts of all data, which "
                "partial_fit does not see. Compute them with sklearn.utils."
                "class_weight.compute_class_weight and give class_weight a dict."
            )
        _check_partial_fit_first_call(self, classes)
        return self._partial_fit(X, y, sample_weight, classes)

    @answers_in_kind
    def decision_function(self, X: Any) -> np.ndarray:
        """Return log odds: what the network puts out before it is a probability.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Binary: the log odds of the second class. Multinomial: unnormalised
            logarithms of the probabilities. Multilabel: log odds of each label.
        """
        X = self._checked_X(X)
        raw = self._model.raw(X)
        return raw[:, 0] if self._target.kind == "binary" else raw

    @answers_in_kind
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. Rows sum to one, except for multilabel targets,
            where every column is a probability of its own.
        """
        X = self._checked_X(X)
        if self._target.kind != "binary":
            return self._model.predict(X)
        if len(self.classes_) == 1:
            return np.ones((X.shape[0], 1))
        # Both tails from the log odds: 1 - p would lose the small one.
        odds = self._model.raw(X)
        return expit(np.hstack([-odds, odds]))

    @answers_in_kind
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict logarithms of probabilities, exact in the far tails too.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            As in `predict_proba`.
        """
        X = self._checked_X(X)
        raw = self._model.raw(X)
        if self._target.kind == "multiclass":
            return log_softmax(raw, axis=1)
        if self._target.kind == "multilabel":
            return log_expit(raw)
        if len(self.classes_) == 1:
            return np.zeros_like(raw)
        return log_expit(np.hstack([-raw, raw]))

    @answers_in_kind
    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class, or all labels of probability .5 or more.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        probability = self.predict_proba(X)
        if self._target.kind == "multilabel":
            return (probability >= 0.5).astype(np.int64)
        return self.classes_[probability.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
