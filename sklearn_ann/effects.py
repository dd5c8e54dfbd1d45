"""Average marginal effects and average predictions, with standard errors.

The way: the estimator is read as a network, the columns say what is asked of it, the
rows averaged over are laid out, and a method of `inference` answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from .averaging import rows_to_average
from .engine.device import threads
from .estimates import Estimates
from .evaluation import Averaging
from .fit_rows import FitRows, checked_rows_of_fit
from .functions import output_labels
from .inference import answered
from .quantities import Quantity, effects_asked, predictions_asked, read_columns
from .questions import Question
from .reading import Reading, read

TARGETS = ("response", "link")


def average_marginal_effects(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    groups: Any = None,
    newdata: Any = None,
    features: Any = None,
    kind: str | Mapping[str, str] = "auto",
    at: str | Mapping[Any, Any] = "overall",
    by: Any = None,
    reference: Any = None,
    target: str = "response",
    vcov: str = "auto",
    unconditional: bool = False,
    conf_level: float = 0.95,
    n_replicates: int = 200,
    n_seeds: int = 1,
    random_state: Any = None,
    add_seed_variance: bool = False,
) -> Estimates:
    r"""Average the effects of columns on predictions, with standard errors.

    The effect of a number is the mean of the derivative of the prediction in it; that
    of a level is the mean change of the prediction when all rows are set to it from the
    reference. Effects are those of the columns of X, through the whole Pipeline.

    Parameters
    ----------
    estimator : fitted estimator
        An `ANNRegressor`, an `ANNClassifier`, or scikit-learn's LinearRegression,
        Ridge, LogisticRegression, PoissonRegressor or GammaRegressor, which are
        networks without hidden layer; alone, at the end of a Pipeline, in a fitted
        search or a TransformedTargetRegressor. Others have debiased effects.
    X : table of shape (n, n_features)
        The rows that the estimator was fitted to, as they were given to ``fit``.
    y : array-like of shape (n,) or (n, m), default=None
        Their targets. Without them there are no standard errors.
    sample_weight : array-like of shape (n,), default=None
        As given to ``fit``. Read as probability weights.
    groups : array-like of shape (n,), default=None
        Clusters of rows that are not independent.
    newdata : table, default=None
        Rows to average over, where these are not those of the fit.
    features : str, int or sequence of them, default=None
        Columns by name or number; by default all.
    kind : {"auto", "slope", "contrast", "eyex", "dyex", "eydx"} or dict, default="auto"
        "auto" takes slopes of numbers, and contrasts with the reference for 0 and 1,
        bools, categories, strings, and every column that reaches an encoder or a
        binner. "contrast" of a number is a change by one, half of it on either side.
        The rest are relative changes: of outcome and column, of the column, of the
        outcome. A dict gives kinds by column.
    at : {"overall", "mean", "median"} or dict, default="overall"
        Average over the rows; or take one row of all columns' means or medians (of
        levels the most frequent); or average over the rows with some columns set to
        given values.
    by : str, int or array-like, default=None
        Average within the groups of rows that a column, or these values, name.
    reference : level or dict of level by column, default=None
        What contrasts compare with; by default the first level.
    target : {"response", "link"}, default="response"
        Effects on means and probabilities; or on log odds, log means, and transformed
        targets.
    vcov : str, default="auto"
        "classical" (or "nonrobust"), "HC0", "HC1", "cluster"; "HC2" and "HC3" for
        linear regression. "bootstrap" refits to drawn rows, or groups where there are
        some, and "bayesian" to rows or groups with random weights; intervals are
        normal, and the result carries the draws. "debiased" cross-fits, and corrects
        what regularisation does to a mean or a probability, for the population's
        average. "auto" takes HC1 (by cluster, if there are groups) where it holds,
        otherwise "debiased" for means and probabilities, otherwise "bootstrap", and
        says what it took and why.
    unconditional : bool, default=False
        Whether the target is the average over the population rather than over these
        rows: their own variation is then part of the standard error.
    conf_level : float, default=0.95
    n_replicates : int, default=200
        Of the bootstrap.
    n_seeds : int, default=1
        With more than one, the estimates are means over so many refits with other
        seeds, and a column ``seed_sd`` holds their standard deviation.
    random_state : int, RandomState instance or None, default=None
        Of bootstrap, folds and refits.
    add_seed_variance : bool, default=False
        Whether ``seed_sd**2 / n_seeds`` is added to analytic variances, so that they
        include how the mean over seeds varies. Not to the bootstrap's, which has it.

    Returns
    -------
    Estimates
        Print it, or ask for ``to_frame()``, ``wald_test()``, ``to_latex()``.

    Raises
    ------
    ValueError
        When the data do not fit together or with the estimator, a word is unknown, or
        a method of `vcov` was asked for that does not hold for this fit: the message
        says why, and what to do. "auto" refuses nothing.

    Notes
    -----
    With predictions f and parameters theta,

    .. math:: \hat\theta_j = \frac1n \sum_i \frac{\partial f(x_i)}{\partial x_j},
              \qquad \widehat{\mathrm{Var}} = J V J', \quad
              J = \partial \hat\theta_j / \partial \theta,

    with V the sandwich of `covariance`. Derivatives are analytic in the network, and
    central differences across transformers, which are taken as given.

    References
    ----------
    White, H. (1989). Some Asymptotic Results for Learning in Single Hidden-Layer
    Feedforward Network Models. Journal of the American Statistical Association 84(408),
    1003-1013. https://doi.org/10.1080/01621459.1989.10478865

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ann import ANNRegressor, average_marginal_effects
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2))
    >>> y = X[:, 0] - 2 * X[:, 1] + rng.normal(size=500)
    >>> line = ANNRegressor(()).fit(X, y)
    >>> effects = average_marginal_effects(line, X, y)
    >>> effects.to_frame()[["term", "estimate", "std_error"]].round(2)
      term  estimate  std_error
    0   x0      1.04       0.04
    1   x1     -2.05       0.05
    """
    reading = read(estimator)
    rows = checked_rows_of_fit(reading, X, y, sample_weight, groups)
    _check_words(target, vcov, conf_level, n_replicates, n_seeds)
    _check_seeds(n_seeds, add_seed_variance)
    columns = read_columns(reading, rows.table, features)
    quantities = effects_asked(reading, columns, kind, reference)
    return _estimates(
        "Average marginal effects",
        reading,
        rows,
        quantities,
        newdata=newdata,
        at=at,
        by=by,
        target=target,
        vcov=vcov,
        unconditional=unconditional,
        conf_level=conf_level,
        n_replicates=n_replicates,
        n_seeds=n_seeds,
        random_state=random_state,
        add_seed_variance=add_seed_variance,
    )


def average_predictions(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    groups: Any = None,
    newdata: Any = None,
    features: Any = None,
    at: str | Mapping[Any, Any] = "overall",
    by: Any = None,
    target: str = "response",
    vcov: str = "auto",
    unconditional: bool = False,
    conf_level: float = 0.95,
    n_replicates: int = 200,
    n_seeds: int = 1,
    random_state: Any = None,
    add_seed_variance: bool = False,
) -> Estimates:
    """Average predictions, with standard errors.

    Parameters
    ----------
    estimator, X, y, sample_weight, groups, newdata, at, by
        As for `average_marginal_effects`.
    features : str, int or sequence of them, default=None
        Columns with levels, or whole numbers: the average is then taken with all rows
        set to each level in turn (predictive margins). By default, rows as they are.
    target, vcov, unconditional, conf_level, n_replicates, n_seeds, random_state, \
add_seed_variance
        As for `average_marginal_effects`.

    Returns
    -------
    Estimates

    Raises
    ------
    ValueError
        As for `average_marginal_effects`.

    Examples
    --------
    The average prediction of a regression is the mean of its targets:

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn_ann import average_predictions
    >>> X, y = load_diabetes(return_X_y=True)
    >>> found = average_predictions(LinearRegression().fit(X, y), X, y)
    >>> print(f"{found.estimate[0]:.4f} {y.mean():.4f}")
    152.1335 152.1335
    """
    reading = read(estimator)
    rows = checked_rows_of_fit(reading, X, y, sample_weight, groups)
    _check_words(target, vcov, conf_level, n_replicates, n_seeds)
    _check_seeds(n_seeds, add_seed_variance)
    columns = () if features is None else read_columns(reading, rows.table, features)
    return _estimates(
        "Average predictions",
        reading,
        rows,
        predictions_asked(columns),
        newdata=newdata,
        at=at,
        by=by,
        target=target,
        vcov=vcov,
        unconditional=unconditional,
        conf_level=conf_level,
        n_replicates=n_replicates,
        n_seeds=n_seeds,
        random_state=random_state,
        add_seed_variance=add_seed_variance,
    )


def _estimates(
    title: str,
    reading: Reading,
    rows: FitRows,
    quantities: list[Quantity],
    *,
    newdata: Any,
    at: Any,
    by: Any,
    target: str,
    vcov: str,
    unconditional: bool,
    conf_level: float,
    **options: Any,
) -> Estimates:
    """Lay out the rows to average over, ask, and label the answer."""
    _check_unconditional(unconditional, newdata, at)
    over, groups = rows_to_average(reading, rows, newdata, at, by)
    question = Question(
        reading,
        rows,
        quantities,
        over,
        target,
        unconditional,
        own_rows=newdata is None and (at == "overall" or isinstance(at, Mapping)),
        **options,
    )
    with threads(1), torch.inference_mode(False):
        answer = answered(question, vcov)
    labels = _labels(reading, answer.quantities or quantities, groups)
    return Estimates(
        title,
        labels,
        answer.estimate,
        answer.vcov,
        answer.basis,
        answer.influence,
        answer.draws,
        rows.groups,
        conf_level,
        answer.absent or ("",) * len(labels),
        answer.beside,
        {"Model": _model_words(reading), "Averaged": _at_words(newdata, at, over)}
        | ({"On": "the link's scale"} if target == "link" else {}),
    )


# ------------------------------------------------------------------------------ checks


def _check_words(
    target: str, vcov: Any, conf_level: float, n_replicates: int, n_seeds: int
) -> None:
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {target!r}.")
    if not isinstance(vcov, str):
        raise ValueError(f"vcov must be a word such as 'HC1'; got {vcov!r}.")
    if not 0 < conf_level < 1:
        raise ValueError(f"conf_level must lie between 0 and 1; got {conf_level!r}.")
    for name, value in (("n_replicates", n_replicates), ("n_seeds", n_seeds)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(
                f"{name} must be a whole number of at least 1; got {value!r}."
            )


def _check_seeds(n_seeds: int, add_seed_variance: bool) -> None:
    if add_seed_variance and n_seeds < 2:
        raise ValueError(
            "add_seed_variance=True needs n_seeds of at least 2: one seed does not "
            f"tell how estimates vary with it. Got n_seeds={n_seeds!r}."
        )


def _check_unconditional(unconditional: bool, newdata: Any, at: Any) -> None:
    if not unconditional:
        return
    if newdata is not None:
        raise ValueError(
            "unconditional=True is for the average over the population that the rows "
            "of the fit were drawn from; the rows of newdata are taken as given. Use "
            "unconditional=False, or by= for a part of the rows of the fit."
        )
    if isinstance(at, str) and at != "overall":
        raise ValueError(
            f"at={at!r} asks for one row, which is taken as given. Use "
            "unconditional=False, or at='overall'."
        )


# ------------------------------------------------------------------------------- words


def _labels(
    reading: Reading, quantities: Sequence[Quantity], groups: tuple[str, list[Any]]
) -> pd.DataFrame:
    """Labels in the order of the answer: quantities, groups, outputs."""
    axis, outputs = output_labels(reading)
    name, members = groups
    rows = []
    for quantity in quantities:
        for member in members:
            for output in outputs:
                row = {"term": quantity.term, "contrast": quantity.contrast}
                row |= {axis: output} if axis else {}
                row |= {name: member} if name else {}
                rows.append(row)
    return pd.DataFrame(rows)


def _model_words(reading: Reading) -> str:
    if reading.kind == "other":
        return type(reading.core).__name__
    architecture = reading.model.architecture
    loss = reading.model.loss.name.replace("_", " ")
    units = ", ".join(map(str, architecture.hidden))
    layers = "layer" if len(architecture.hidden) == 1 else "layers"
    hidden = f"hidden {layers} of {units}" if units else "no hidden layer"
    words = f"{type(reading.core).__name__}, {loss}, {hidden}"
    for kind in dict.fromkeys(e.kind for e in architecture.embeddings):
        words += f", {kind.replace('_', ' ')} embedding"
    if reading.kind == "ensemble":
        words += f", {len(reading.model.models)} members"
    return words


def _at_words(newdata: Any, at: Any, over: Averaging) -> str:
    rows = "rows of the fit" if newdata is None else "rows of newdata"
    if isinstance(at, Mapping):
        return f"over {len(over.table):,} {rows}, with " + ", ".join(
            f"{column} = {value}" for column, value in at.items()
        )
    if at == "overall":
        return f"over {len(over.table):,} {rows}"
    return f"at the {at} of all columns"
