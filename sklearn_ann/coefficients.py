"""The familiar table: coefficients of a network without hidden layer.

Weights of hidden layers are not identified (units may be permuted, signs flipped), so
there is no table of them; without hidden layer they are those of a regression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from .engine.device import threads
from .estimates import Basis, Estimates
from .fit_rows import checked_rows_of_fit
from .functions import output_labels
from .model import collapsed
from .objective import Problem
from .questions import Answer, Invalid
from .reading import Reading, read
from .sandwich import NAMES, at_minimum, reported

INTERCEPT = "intercept"


def coefficient_table(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    groups: Any = None,
    vcov: str = "auto",
    base: Any = None,
    conf_level: float = 0.95,
) -> Estimates:
    """Coefficients of a network without hidden layer, with standard errors.

    Parameters
    ----------
    estimator : fitted estimator
        One without hidden layer, or a linear model of scikit-learn, as for
        `average_marginal_effects`. In a Pipeline, coefficients are those of the
        transformed columns.
    X, y, sample_weight, groups
        As for `average_marginal_effects`.
    vcov : str, default="auto"
        "classical" (or "nonrobust"), "HC0", "HC1", "HC2", "HC3" or "cluster"; "auto" is
        HC1, or by cluster where there are groups.
    base : label, default=None
        Of several classes, the one whose coefficients are zero; by default the first.
    conf_level : float, default=0.95

    Returns
    -------
    Estimates

    Raises
    ------
    ValueError
        When there is a hidden layer, the data do not fit together, or the method asked
        for does not hold.

    Examples
    --------
    The regression of statsmodels, ``OLS(y, add_constant(X)).fit(cov_type="HC1")``:

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_ann import ANNRegressor, coefficient_table
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> X = X[["bmi", "bp"]]
    >>> table = coefficient_table(ANNRegressor(()).fit(X, y), X, y)
    >>> table.to_frame()[["term", "estimate", "std_error"]].round(1)
            term  estimate  std_error
    0  intercept     152.1        2.9
    1        bmi     790.4       66.4
    2         bp     402.2       68.5
    """
    reading = read(estimator)
    if not reading.is_linear:
        raise ValueError(
            f"{type(reading.core).__name__} is no single network without hidden layer: "
            "weights of hidden layers are not identified, so there is no table of "
            "them. Use average_marginal_effects."
        )
    rows = checked_rows_of_fit(reading, X, y, sample_weight, groups)
    place = _base(reading, base)
    names = _names(reading, rows.table.names)
    with threads(1), torch.inference_mode(False):
        answer = _answered(reading, rows, vcov, place)
    return Estimates(
        "Coefficients",
        _labels(reading, names, place),
        answer.estimate,
        answer.vcov,
        answer.basis,
        answer.influence,
        clusters=rows.groups,
        conf_level=conf_level,
        absent=answer.absent,
        facts={"Model": _words(reading, place)},
    )


def _answered(reading: Reading, rows: Any, vcov: str, base: int | None) -> Answer:
    name = {"nonrobust": "classical"}.get(vcov, vcov)
    if name == "auto":
        name = "HC1" if rows.groups is None else "cluster"
    if name not in NAMES:
        raise ValueError(
            f"vcov must be 'auto' or one of {', '.join(map(repr, NAMES))}; got "
            f"{vcov!r}."
        )
    if (name == "cluster") != (rows.groups is not None):
        raise ValueError(
            "groups and vcov='cluster' belong together: give both or neither."
        )
    try:
        fit = at_minimum(reading, rows, name)
        values, jacobian = in_user_units(fit.best.problem, reading, base)
        return reported(fit, values, jacobian)
    except Invalid as refusal:
        if vcov != "auto":
            raise refusal.of(name) from None
        return _estimates_only(reading, rows, base, refusal)


def _estimates_only(
    reading: Reading, rows: Any, base: int | None, refusal: Invalid
) -> Answer:
    coef, intercept = collapsed(reading.model)  # type: ignore[misc]
    block = np.vstack([coef, intercept])
    values = _against_base(reading, base) @ block.ravel()
    missing = np.full((len(values), len(values)), np.nan)
    basis = Basis(
        "none",
        f"auto; no standard errors, because {refusal.reason}",
        penalised=bool(reading.penalty),
        n=rows.n,
    )
    return Answer(values, missing, basis, absent=("",) * len(values))


def in_user_units(
    problem: Problem, reading: Reading, base: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients in the units of X and y, and their derivatives in the parameters.

    With z = (x - mean) / scale, and y in units of its own: of the slopes w and the
    intercept b, ``w / scale`` and ``b - mean / scale w``, times y's scale.

    Returns
    -------
    values : ndarray of shape (q,)
        For each output the intercept, if there is one, and then the slopes.
    jacobian : ndarray of shape (q, P)
    """
    d, m = problem.architecture.n_inputs, problem.architecture.n_outputs
    inner = np.eye(d + 1)
    inner[:d, :d] = np.diag(1.0 / problem.inputs.scale)
    inner[d, :d] = -problem.inputs.mean / problem.inputs.scale
    scale = np.ones(m) if problem.targets is None else problem.targets.scale
    matrix = np.kron(inner, np.diag(scale))
    shift = np.zeros((d + 1, m))
    if problem.targets is not None:
        shift[d] = problem.targets.mean
    chosen = _against_base(reading, base)
    values = matrix @ problem.theta.numpy() + shift.ravel()
    return chosen @ values, chosen @ matrix


def _against_base(reading: Reading, base: int | None) -> np.ndarray:
    """Pick and order what the table shows, from the block (d + 1, m): (q, P)."""
    architecture = reading.model.architecture
    d, m = architecture.n_inputs, architecture.n_outputs
    order = [d, *range(d)] if reading.has_intercept else list(range(d))
    rows = []
    for output in (o for o in range(m) if o != base):
        for place in order:
            row = np.zeros((d + 1, m))
            row[place, output] = 1.0
            if base is not None:
                row[place, base] = -1.0
            rows.append(row.ravel())
    return np.array(rows)


def _base(reading: Reading, base: Any) -> int | None:
    """Place of the base class, where there is one."""
    if reading.model.loss.name != "multinomial":
        if base is not None:
            raise ValueError(
                "base= names the class that others are compared with; this model has "
                "no several classes."
            )
        return None
    classes = list(reading.classes)  # type: ignore[arg-type]
    if base is None:
        return 0
    if base not in classes:
        raise ValueError(f"base={base!r} is not among the classes {classes}.")
    return classes.index(base)


def _names(reading: Reading, raw: tuple[str, ...]) -> list[str]:
    """Names of the columns that the coefficients belong to."""
    d = reading.model.architecture.n_inputs
    if not reading.transformers:
        return list(raw)
    try:
        found: Any = None
        for transformer in reading.transformers:
            found = transformer.get_feature_names_out(found)
        return list(map(str, found))
    except (AttributeError, ValueError):  # not every transformer knows
        return [f"z{i}" for i in range(d)]


def _labels(reading: Reading, names: list[str], base: int | None) -> pd.DataFrame:
    axis, outputs = output_labels(reading)
    terms = [INTERCEPT, *names] if reading.has_intercept else names
    return pd.DataFrame(
        [
            {"term": term, "contrast": ""} | ({axis: output} if axis else {})
            for i, output in enumerate(outputs)
            if i != base
            for term in terms
        ]
    )


def _words(reading: Reading, base: int | None) -> str:
    loss = reading.model.loss.name.replace("_", " ")
    words = f"{type(reading.core).__name__}, {loss}"
    if base is not None:
        words += f", base class {reading.classes[base]}"  # type: ignore[index]
    return words
