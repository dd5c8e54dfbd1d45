"""Networks of one kind and several sizes: what more hidden units buy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

from .comparison import compare
from .comparison_metrics import as_metrics
from .comparison_result import Comparison
from .faces import Table
from .rendering import cell
from .text import decimals_for, number

SIZES = (1, 10, 50, 100, 500)
TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SizeComparison:
    """Losses of networks that differ in their hidden units.

    Print it, or see `to_frame`, `table`.

    Attributes
    ----------
    network : estimator
        The settings that they share.
    units : tuple of str
        Hidden units of each size, as "10", or "10, 5" for two layers.
    comparison : Comparison
        All the scores, with the sizes as models.
    """

    network: BaseEstimator
    units: tuple[str, ...]
    comparison: Comparison

    def to_frame(self) -> pd.DataFrame:
        """Give one row per size.

        Returns
        -------
        DataFrame
            Indexed by units, with the columns parameters, train_min, train_median,
            test_min, test_median (of the loss, over seeds) and seconds (of a fit).
        """
        result = self.comparison
        train, test = (
            np.stack([scores[:, 0].mean(axis=1) for scores in by_seed])  # (M, R)
            for by_seed in (result.train_scores, result.seed_scores)
        )
        columns = {
            "parameters": result.n_parameters.max(axis=1),
            "train_min": train.min(axis=1),
            "train_median": np.median(train, axis=1),
            "test_min": test.min(axis=1),
            "test_median": np.median(test, axis=1),
            "seconds": result.fit_seconds.mean(axis=1),
        }
        index = pd.Index(self.units, name="units")
        return pd.DataFrame(columns, index=index)

    def table(self) -> Table:
        """Tabulate the losses: one row a size.

        Returns
        -------
        Table
            With ``to_latex()``, ``to_markdown()``, ``to_html()``.
        """
        return _table(self)

    def to_latex(self) -> str:
        """Write `table` in LaTeX, for the package booktabs."""
        return self.table().to_latex()

    def to_markdown(self) -> str:
        """Write `table` in Markdown."""
        return self.table().to_markdown()

    def to_html(self) -> str:
        """Write `table` as an HTML table."""
        return self.table().to_html()

    def __str__(self) -> str:
        return self.table().to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.to_html()


def compare_sizes(
    network: BaseEstimator,
    X: Any,
    y: Any,
    units: Sequence[Any] = SIZES,
    *,
    cv: Any = None,
    n_seeds: int = 5,
    params: dict[str, Any] | None = None,
    random_state: int | None = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> SizeComparison:
    """Fit networks that differ in their hidden units only, and compare their losses.

    All settings but the size are those of the network given, and each size is fitted
    with the same seeds. What the table shows is the loss that training arrives at: more
    units can approximate more, but whether training finds it is another matter.

    Parameters
    ----------
    network : estimator
        An `ANNRegressor`, an `ANNClassifier`, or anything with one parameter
        ``hidden_layer_sizes``, such as a Pipeline with a network in it.
    X : array-like of shape (n, d)
        Inputs.
    y : array-like of shape (n,) or (n, m)
        Targets.
    units : sequence of int or tuple, default=(1, 10, 50, 100, 500)
        Units of the hidden layer; a tuple for several layers, 0 for none, which is a
        regression.
    cv : int, splitter or iterable of (train, test), default=None
        As for `compare`. None keeps a quarter of the rows, drawn once, for testing.
    n_seeds : int, default=5
        How many times each size is fitted, as starting values and minibatches depend on
        chance.
    params, random_state, n_jobs, progress
        As for `compare`.

    Returns
    -------
    SizeComparison
        Mean squared error, or log loss for classifiers, in and out of sample: minimum
        and median over seeds.

    Raises
    ------
    TypeError
        If there is no parameter ``hidden_layer_sizes``, or several.
    ValueError
        For units that are no positive whole numbers, or named twice.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ann import ANNRegressor, compare_sizes
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(size=(200, 1))
    >>> y = np.sin(8 * x[:, 0])
    >>> network = ANNRegressor(activation="tanh", solver="lbfgs", max_iter=500)
    >>> result = compare_sizes(network, x, y, [0, 1, 4], n_seeds=2)
    >>> result.to_frame()[["parameters", "test_median"]].round(2)
           parameters  test_median
    units
    0             2.0         0.46
    1             4.0         0.41
    4            13.0         0.00
    """
    name = _size_parameter(network)
    sizes = {_label(each): _as_layers(each) for each in units}
    if len(sizes) < len(tuple(units)) or not sizes:
        raise ValueError(f"units must name at least one size, and none twice: {units}.")
    classify = is_classifier(network)
    if cv is None:
        kind = StratifiedShuffleSplit if classify else ShuffleSplit
        cv = kind(1, test_size=TEST_SHARE, random_state=random_state)
    result = compare(
        {label: _sized(network, name, layers) for label, layers in sizes.items()},
        X,
        y,
        cv=cv,
        scoring=as_metrics(None, [classify], y, in_time=True)[:1],
        n_seeds=n_seeds,
        params=params,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
    )
    return SizeComparison(clone(network), tuple(sizes), result)


def _size_parameter(network: BaseEstimator) -> str:
    names = [
        name
        for name in network.get_params()
        if name.split("__")[-1] == "hidden_layer_sizes"
    ]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise TypeError(
            "Expected a network, or a Pipeline with one network in it: something with "
            f"one parameter hidden_layer_sizes; got {network!r}, which has {found}."
        )
    return names[0]


def _as_layers(units: Any) -> tuple[int, ...]:
    layers = units if isinstance(units, tuple | list) else (units,) * (units != 0)
    for each in layers:
        if not isinstance(each, int | np.integer) or isinstance(each, bool) or each < 1:
            raise ValueError(
                "units must be positive whole numbers, tuples of them, or 0 for no "
                f"hidden layer; got {units!r}."
            )
    return tuple(int(each) for each in layers)


def _label(units: Any) -> str:
    """Name a size, and equal ones alike.

    Examples
    --------
    >>> [_label(each) for each in (10, (10,), (10, 5), 0, ())]
    ['10', '10', '10, 5', '0', '0']
    """
    return ", ".join(map(str, _as_layers(units))) or "0"


def _sized(network: BaseEstimator, name: str, layers: tuple[int, ...]) -> BaseEstimator:
    return clone(network).set_params(**{name: layers})


# --------------------------------------------------------------------------- the table


def _table(result: SizeComparison) -> Table:
    frame = result.to_frame()
    losses = ["train_min", "train_median", "test_min", "test_median"]
    decimals = decimals_for(frame["seconds"], digits=2)
    rows = tuple(
        (
            str(units),
            number(row["parameters"], 0),
            *(cell(row[loss]) for loss in losses),
            number(row["seconds"], decimals),
        )
        for units, row in frame.iterrows()
    )
    header = ("units", "parameters", *(each.replace("_", " ") for each in losses))
    return Table(
        f"{result.comparison.metrics[0].name} by hidden units",
        (*header, "seconds"),
        (rows,),
        tuple(_notes(result)),
        frame,
    )


def _notes(result: SizeComparison) -> list[str]:
    comparison = result.comparison
    n_seeds = max(map(len, comparison.seed_scores))
    fit, test = comparison.n_train.mean(), comparison.n_test.mean()
    settings = " ".join(repr(result.network).split())
    return [
        f"Train: the {fit:.0f} rows fitted to; test: {test:.0f} others. Minimum and "
        f"median over {n_seeds} seed{'s' * (n_seeds > 1)}; seconds are those of a fit.",
        f"All else is fixed: {settings}.",
        *comparison.remarks,
    ]
