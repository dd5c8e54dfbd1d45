"""The corrected t-test and Holm's adjustment: known values, and their edges."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.svm import SVC
from statsmodels.stats.multitest import multipletests

from sklearn_ann import compare
from sklearn_ann.score_tests import corrected_std_error, corrected_t_test, holm


def test_known_value_of_scikit_learns_example():
    """From 'Statistical comparison of models using grid search': rbf minus linear."""
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    models = {
        kernel: SVC(kernel=kernel, random_state=0) for kernel in ("linear", "rbf")
    }
    test = compare(models, X, y, cv=cv, scoring="roc_auc").test("rbf", "roc_auc")
    assert test.statistic == pytest.approx(0.7503126954, abs=1e-9)
    assert test.p_value / 2 == pytest.approx(0.227422971, abs=1e-8)
    assert test.df == 99
    assert test.mean == pytest.approx(0.01, abs=1e-12)
    # What the example warns of, and nothing here prints: s / sqrt(J).
    uncorrected = corrected_t_test(result_gaps(models, X, y, cv), 1e15, 1)
    assert uncorrected.statistic == pytest.approx(2.6111648394, abs=1e-8)
    assert uncorrected.p_value / 2 == pytest.approx(0.0052130132, abs=1e-9)


def result_gaps(models, X, y, cv):
    result = compare(models, X, y, cv=cv, scoring="roc_auc")
    return result.model_scores("rbf", "roc_auc") - result.model_scores(
        "linear", "roc_auc"
    )


def test_without_the_overlap_it_is_the_one_sample_t_test():
    """With far more rows to fit than to test, the correction goes away."""
    d = np.random.default_rng(0).normal(0.3, 1, 12)
    expected = stats.ttest_1samp(d, 0)
    test = corrected_t_test(d, n_train=1e12, n_test=1)
    assert test.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_unequal_splits_take_the_ratio_of_sums():
    d = [0.1, 0.3, 0.2]
    expected = np.sqrt((1 / 3 + (20 + 10 + 30) / (80 + 90 + 70)) * np.var(d, ddof=1))
    test = corrected_t_test(d, [80, 90, 70], [20, 10, 30])
    assert test.std_error == pytest.approx(expected, rel=1e-12)
    assert test.std_error == corrected_std_error(d, [80, 90, 70], [20, 10, 30])


def test_far_tails_are_not_zero():
    test = corrected_t_test(1e6 + np.arange(60.0), 80, 20)
    assert 0 < test.p_value < 1e-100


def test_equal_models_are_no_evidence():
    test = corrected_t_test([0.0, 0.0, 0.0], 80, 20)
    assert (test.statistic, test.p_value) == (0.0, 1.0)


def test_a_gap_that_never_varies_has_infinite_statistic():
    test = corrected_t_test([0.5, 0.5, 0.5], 80, 20)
    assert (test.statistic, test.p_value) == (np.inf, 0.0)


@pytest.mark.parametrize("n_tests", [1, 2, 7])
def test_holm_equals_statsmodels(n_tests):
    p = np.random.default_rng(n_tests).uniform(0, 0.3, n_tests)
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)
    with_gap = holm(np.r_[np.nan, p])
    np.testing.assert_allclose(with_gap[1:], expected, rtol=1e-12)
    assert np.isnan(with_gap[0])


@pytest.mark.parametrize(
    ("differences", "n_train", "n_test", "message"),
    [
        ([0.1], 80, 20, "at least two splits"),
        ([[0.1, 0.2]], 80, 20, "at least two splits"),
        ([0.1, 0.2], 0, 20, "positive sizes"),
        ([0.1, 0.2], 80, [20, 0], "positive sizes"),
    ],
)
def test_bad_input_of_the_test(differences, n_train, n_test, message):
    with pytest.raises(ValueError, match=message):
        corrected_t_test(differences, n_train, n_test)
