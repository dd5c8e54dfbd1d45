"""The numbers of a comparison as DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .forecast_tests import DieboldMarianoTest
from .score_tests import CorrectedTTest, corrected_std_error, holm

if TYPE_CHECKING:
    from .comparison_result import Comparison

NAN = float("nan")
NO_TEST = CorrectedTTest(NAN, NAN, NAN, 0, NAN)
CLARK_WEST = "Clark-West"
TEST_COLUMNS = [
    "model",
    "metric",
    "test",
    "difference",
    "std_error",
    "statistic",
    "p_value",
    "p_holm",
]


def frame_of_scores(result: Comparison) -> pd.DataFrame:
    """Give one row per model, see `Comparison.to_frame`."""
    rows = [_row(result, m, model) for m, model in enumerate(result.models)]
    return pd.DataFrame(rows, index=pd.Index(result.models, name="model"))


def frame_of_tests(result: Comparison) -> pd.DataFrame:
    """Give one row per test, see `Comparison.tests`."""
    others = [model for model in result.models if model != result.baseline]
    rows = [_test_row(result, m, each.name) for m in others for each in result.metrics]
    rows += [_clark_west_row(result, model) for model in result.clark_west]
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def _row(result: Comparison, m: int, model: str) -> dict[str, float]:
    row: dict[str, float] = {}
    for s, metric in enumerate(result.metrics):
        row |= _cells(result, (m, s), model, metric.name)
    row["fit_seconds"] = float(result.fit_seconds[m].mean())
    # Splits can differ, where a rare category has no dummy in some of them.
    row["n_parameters"] = float(result.n_parameters[m].max())
    return row


def _cells(
    result: Comparison, place: tuple[int, int], model: str, metric: str
) -> dict[str, float]:
    difference = _difference(result, model, metric)
    m, s = place
    train = result.train_scores[m][:, s].mean() if result.train_scores else NAN
    return {
        metric: float(result.scores[place].mean()),
        f"{metric}_std_error": _std_error(result, place),
        f"{metric}_difference": difference.mean,
        f"{metric}_difference_std_error": difference.std_error,
        f"{metric}_statistic": difference.statistic,
        f"{metric}_p_value": difference.p_value,
        f"{metric}_p_holm": _holm(result, model, metric),
        f"{metric}_train": float(train),
        f"{metric}_seed_sd": result.seed_sd(model, metric),
    }


def _std_error(result: Comparison, place: tuple[int, int]) -> float:
    if result.no_test_because or result.window is not None:
        return NAN
    return corrected_std_error(result.scores[place], result.n_train, result.n_test)


def _difference(
    result: Comparison, model: str, metric: str
) -> CorrectedTTest | DieboldMarianoTest:
    """Test where there is one; elsewhere the numbers that exist, the rest nan."""
    if model == result.baseline:
        return NO_TEST
    if result.no_test_because:
        base = result.model_scores(result.baseline, metric)
        gap = float((result.model_scores(model, metric) - base).mean())
        return CorrectedTTest(gap, NAN, NAN, 0, NAN)
    return result.test(model, metric)


def _holm(result: Comparison, model: str, metric: str) -> float:
    """Adjust a p-value for all models that are compared with the baseline."""
    p = [_difference(result, each, metric).p_value for each in result.models]
    return float(holm(p)[result.models.index(model)])


def _test_row(result: Comparison, model: str, metric: str) -> list[object]:
    found = _difference(result, model, metric)
    name = "corrected t" if result.window is None else "Diebold-Mariano"
    if result.no_test_because:
        name = "none"
    numbers = [found.mean, found.std_error, found.statistic, found.p_value]
    return [model, metric, name, *numbers, _holm(result, model, metric)]


def _clark_west_row(result: Comparison, model: str) -> list[object]:
    tests = {each: result.clark_west_test(each) for each in result.clark_west}
    adjusted = holm([test.p_value for test in tests.values()])
    found = tests[model]
    numbers = [found.mean, found.std_error, found.statistic, found.p_value]
    p_holm = float(adjusted[result.clark_west.index(model)])
    return [model, "squared error", CLARK_WEST, *numbers, p_holm]
