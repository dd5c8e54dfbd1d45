"""What becomes of columns: quantiles by weight, robust scales, levels, expansion."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

from sklearn_ann.design import (
    learn_design,
    robust_scale,
    soft_clip,
)
from sklearn_ann.encoding import has_gaps
from sklearn_ann.encoding import weighted_quantiles as by_column
from sklearn_ann.engine.expansion import Expansion

NAN = np.nan
LEVELS = [0.0, 0.25, 0.5, 0.75, 1.0]
ROUNDING = 1e-12


# ------------------------------------------------------------------- quantiles


def weighted_quantiles(x, weight, levels):
    return by_column(x[:, None], weight, np.array(levels))[:, 0]


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.sampled_from([0.1, 0.25, 1 / 3, 1, 7])),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.integers(1, 4), min_size=30, max_size=30),
)
def test_a_weight_is_the_row_as_often(rows, times):
    """Whatever the weights: sums in another order must not change a tie."""
    x, w = (np.array(each, dtype=float) for each in zip(*rows, strict=True))
    times = np.array(times[: len(x)])
    repeated = np.repeat(x, times)
    found = weighted_quantiles(x, w * times, LEVELS)
    np.testing.assert_array_equal(
        found, weighted_quantiles(repeated, np.repeat(w, times), LEVELS)
    )
    assert set(found) <= set(x)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=50))
def test_without_weights_as_numpy_has_them(values):
    x = np.array(values, dtype=float)
    expected = np.quantile(x, LEVELS, method="inverted_cdf")
    np.testing.assert_array_equal(weighted_quantiles(x, None, LEVELS), expected)
    ones = np.full(len(x), 0.1)
    np.testing.assert_array_equal(weighted_quantiles(x, ones, LEVELS), expected)


# ------------------------------------------------------------------- scales


def test_robust_scale_is_that_of_scikit_learn():
    """At 4 k + 1 rows its interpolated quantiles are values, and these."""
    x = np.random.default_rng(0).normal(size=401)
    theirs = RobustScaler().fit(x[:, None])
    centre, scale = robust_scale(x, None)
    np.testing.assert_allclose(
        [centre, scale], [theirs.center_[0], theirs.scale_[0]], rtol=ROUNDING
    )


def test_robust_scale_of_odd_columns():
    mostly = np.r_[np.zeros(90), np.arange(1.0, 11.0)]
    assert robust_scale(mostly, None) == (0.0, 5.0)  # half of the range
    assert robust_scale(np.full(9, 3.0), None) == (3.0, 1.0)
    assert robust_scale(np.array([0.1 + 0.2, 0.3]), None)[1] == 1.0  # rounding
    weight = np.r_[np.full(90, 1e-9), np.ones(10)]
    assert robust_scale(mostly, weight) == (5.0, 5.0)
    for unit in (1e-200, 1e200):
        centre, scale = robust_scale(np.arange(9.0) * unit, None)
        np.testing.assert_allclose([centre / unit, scale / unit], [4, 4])


def test_soft_clip():
    z = np.array([-1e300, -1e8, -0.01, 0.0, 0.01, 3.0, 1e200])
    found = soft_clip(z, 3.0)
    np.testing.assert_allclose(found, [-3, -3, -0.01, 0, 0.01, 1.5 * 2**0.5, 3], 1e-5)


# ------------------------------------------------------------------- designs


def table(n=200, seed=0):
    """Two numbers, the second with gaps; two columns of codes, the second with some."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(3, 2, n),
            rng.integers(0, 3, n),
            rng.normal(-1, 0.1, n),
            rng.integers(0, 5, n),
        ]
    )
    X[rng.uniform(size=n) < 0.1, 2] = NAN
    X[rng.uniform(size=n) < 0.1, 3] = NAN
    return X


CODED = np.array([False, True, False, True])


def design_of(X, weight=None, standardize=True, rows=None):
    rows = np.arange(len(X)) if rows is None else rows
    return learn_design(X, rows, weight, CODED, standardize)


def test_the_columns_are_those_of_scikit_learn():
    X = table()
    found = design_of(X).matrix(X)
    numbers = X[:, [0, 2]]
    scaled = StandardScaler().fit(numbers)  # which leaves gaps out
    z = (np.where(np.isnan(numbers), np.nanmedian(numbers, 0), numbers)) - scaled.mean_
    z /= scaled.scale_
    # The median of an even count is one of the two in the middle here.
    gaps = np.isnan(numbers[:, 1])
    np.testing.assert_allclose(found[:, 0], z[:, 0], atol=ROUNDING)
    np.testing.assert_allclose(found[~gaps, 1], z[~gaps, 1], atol=ROUNDING)
    np.testing.assert_allclose(found[gaps, 1], z[gaps, 1], atol=0.05)
    assert len(set(found[gaps, 1])) == 1
    np.testing.assert_array_equal(
        found[:, 2:3], MissingIndicator().fit_transform(numbers)
    )
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(X[:, [1, 3]])
    np.testing.assert_array_equal(found[:, 3:], one_hot)


@pytest.mark.parametrize("standardize", [True, "robust", False])
def test_a_row_of_weight_two_is_the_row_twice(standardize):
    X = table(101)
    rng = np.random.default_rng(1)
    times = rng.integers(0, 4, 101)
    rows = np.flatnonzero(times)
    by_weight = design_of(X, times[rows] * 0.3, standardize, rows)
    repeated = np.repeat(X, times, axis=0)
    by_rows = design_of(repeated, np.full(len(repeated), 0.3), standardize)
    fresh = table(300, seed=5)
    np.testing.assert_allclose(
        by_weight.matrix(fresh), by_rows.matrix(fresh), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("standardize", [True, "robust", False])
def test_columns_with_gaps_are_found_in_the_rows_trained_on(standardize):
    X = table()
    full = np.flatnonzero(~np.isnan(X).any(axis=1))
    design = design_of(X, None, standardize, full)
    assert len(design.gaps) == 0 and design.n_inputs == 2 + 3 + 5
    found = design.matrix(np.full((1, 4), NAN))
    # A gap that comes later is the centre of a number, and no level at all.
    assert (found[0, 2:] == 0).all()
    centre = {True: 0.0, "robust": 0.0, False: X[full][:, [0, 2]].mean(0)}[standardize]
    np.testing.assert_allclose(found[0, :2], np.broadcast_to(centre, 2))


def test_levels_that_are_not_trained_on_are_gaps():
    X = table()
    seen = np.flatnonzero((X[:, 1] != 1) & (X[:, 3] != 4))
    design = design_of(X, None, True, seen)
    names = design.names(list("abcd"), [np.array(list("xyz")), np.array(list("pqrst"))])
    one_hot = ["b_x", "b_z", "d_p", "d_q", "d_r", "d_s", "d_nan"]
    assert names == ["a", "c", "missingindicator_c", *one_hot]
    rows = np.array([[0.0, 1, 0, 4], [0, 2, 0, 9], [0, NAN, 0, NAN]])
    found = design.matrix(rows)[:, 3:]
    # b had no gaps: unknown is all zeros. d had: unknown is as a gap.
    np.testing.assert_array_equal(found[0], [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(found[1], [0, 1, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(found[2], [0, 0, 0, 0, 0, 0, 1])


def test_odd_columns():
    X = np.full((4, 4), NAN)
    X[:, 0] = 7.0
    design = design_of(X)
    # Nothing but gaps: a number that is zero, its column of ones, one level.
    np.testing.assert_array_equal(design.matrix(X), [[0, 0, 1, 1, 1]] * 4)


def test_units_at_the_end():
    X = table()
    design = design_of(X)
    scaling = design.last_units
    unscaled = design.unscaled.matrix(X)
    np.testing.assert_allclose(unscaled[:, 0], X[:, 0], rtol=1e-15)
    np.testing.assert_allclose(
        (unscaled - scaling.mean) / scaling.scale, design.matrix(X), atol=ROUNDING
    )
    assert design_of(X, standardize="robust").last_units is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compact_tables_expand_to_the_matrix(dtype):
    X = table()
    design = design_of(X)
    compact = design.table(X, dtype)
    assert compact.shape == (200, 2 + 1 + 2 + 1)
    expanded = design.expansion(compact)
    expected = np.column_stack([design.matrix(X), np.ones(200)])
    np.testing.assert_array_equal(expanded, torch.tensor(expected, dtype=dtype))


def test_expansion_writes_over_what_was_there():
    expansion = Expansion(0, (2, 1, 3))
    compact = torch.tensor([[1.0, 1, 3, 1], [2, 0, 0, 1]])
    out = torch.full((2, 7), NAN)
    expansion.into(compact, out)
    assert out.tolist() == [[1, 0, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0, 1]]
    assert expansion.width(4) == 7


def test_gaps_are_told_from_sums_that_leave_the_range():
    X = np.full((2000, 3), 1e308)
    X[::2] *= -1
    assert not has_gaps(X)
    X[7, 1] = NAN
    assert has_gaps(X)


def test_many_levels_stay_codes():
    X = table()
    seen = np.flatnonzero(X[:, 3] != 4)
    design = learn_design(X, seen, None, CODED, True, most_one_hot=4)
    (own,) = design.lookups
    assert own.count == 4 and design.expansion.levels == (3,)
    assert design.n_inputs == 2 + 1 + 3 + 1
    rows = np.array([[0.0, 1, 0, 0], [0, 1, 0, 3], [0, 1, 0, 4], [0, 1, 0, NAN]])
    found = design.matrix(rows)
    assert found[:, -1].tolist() == [1, 4, 0, 0]  # 0 is for gaps and what came later
    compact = design.table(rows, torch.float64)
    np.testing.assert_array_equal(design.expansion(compact)[:, :-1], found)
    assert compact.shape == (4, 2 + 1 + 1 + 1 + 1)
    names = design.names(list("abcd"), [np.array(list("xyz")), np.array(list("pqrst"))])
    assert names == ["a", "c", "missingindicator_c", "b_x", "b_y", "b_z", "d"]
    np.testing.assert_array_equal(design.last_units.scale[2:], 1.0)
