"""Tables of any kind at the door: which columns are categories, and their codes."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from sklearn_ann.frames import Coding

NAN = np.nan
N = 6


def one(column):
    """A table of one column beside a number, and how its kind is read."""
    return pd.DataFrame({"other": np.arange(float(N)), "it": column})


CATEGORIES = {
    "object": pd.Series(["b", "a", None, "b", "c", NAN], dtype=object),
    "str": pd.Series(["b", "a", None, "b", "c", None], dtype="str"),
    "string": pd.Series(["b", "a", None, "b", "c", None], dtype="string"),
    "arrow": pd.Series(["b", "a", None, "b", "c", None], dtype="string[pyarrow]"),
    "category": pd.Series(["b", "a", None, "b", "c", None], dtype="category"),
    "ordered": pd.Series(
        pd.Categorical(["b", "a", None, "b", "c", None], ["c", "b", "a"], ordered=True)
    ),
    "level that does not occur": pd.Series(
        pd.Categorical(["b", "a", None, "b", "c", None], ["a", "b", "c", "z"])
    ),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_levels_are_sorted_and_gaps_are_nan(name):
    frame = one(CATEGORIES[name])
    coding = Coding.of(frame, "from_dtype")
    assert coding.is_categorical.tolist() == [False, True]
    assert [list(levels) for levels in coding.levels] == [["a", "b", "c"]]
    np.testing.assert_array_equal(
        coding.encode(frame),
        np.column_stack([np.arange(6.0), [1, 0, NAN, 1, 2, NAN]]),
    )


@pytest.mark.parametrize("dtype", [">f8", ">i4", ">f4"])
def test_another_byte_order(dtype):
    """As a file from elsewhere has it."""
    codes = np.array([[2, 1], [0, 1], [2, 0]])
    coding = Coding.of(codes.astype(dtype), [0])
    native = Coding.of(codes, [0])
    np.testing.assert_array_equal(
        coding.encode(codes.astype(dtype)), native.encode(codes)
    )


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(["b", "a", None, "b", "c", None]),
        pl.Series(["b", "a", None, "b", "c", None], dtype=pl.Categorical),
        pl.Series(["b", "a", None, "b", "c", None], dtype=pl.Enum(["c", "b", "a"])),
    ],
    ids=["String", "Categorical", "Enum"],
)
def test_polars(column):
    frame = pl.DataFrame({"other": np.arange(6.0), "it": column})
    coding = Coding.of(frame, "from_dtype")
    expected = np.column_stack([np.arange(6.0), [1, 0, NAN, 1, 2, NAN]])
    np.testing.assert_array_equal(coding.encode(frame), expected)
    # One door for all: what pandas taught reads what polars brings.
    twin = Coding.of(one(CATEGORIES["object"]), "from_dtype")
    np.testing.assert_array_equal(twin.encode(frame), expected)


NUMBERS = {
    "bool": (pd.Series([True, False] * 3), [1, 0] * 3),
    "boolean": (pd.Series([True, None, False] * 2, dtype="boolean"), [1, NAN, 0] * 2),
    "bools and None": (pd.Series([True, None, False] * 2, dtype=object), [1, NAN, 0]),
    "Int64": (pd.Series([3, None, -2] * 2, dtype="Int64"), [3, NAN, -2]),
    "int8": (pd.Series([3, 4, -2] * 2, dtype="int8"), [3, 4, -2]),
    "arrow": (pd.Series([3, None, -2] * 2, dtype="int64[pyarrow]"), [3, NAN, -2]),
    "object": (pd.Series([3, None, 2.5] * 2, dtype=object), [3, NAN, 2.5]),
    "decimal": (pd.Series([decimal.Decimal("2.5")] * 6), [2.5]),
    "only gaps": (pd.Series([None] * 6, dtype=object), [NAN]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_not_categories(name):
    column, expected = NUMBERS[name]
    assert Coding.of(one(column), "from_dtype") is None
    frame = one(column).assign(who=["a", "b"] * 3)
    coding = Coding.of(frame, "from_dtype")
    found = coding.encode(frame)[:, 1]
    np.testing.assert_array_equal(found, np.resize(expected, 6).astype(float))


def test_numbers_of_polars():
    frame = pl.DataFrame(
        {
            "who": ["a", "b", "a"],
            "int": [3, None, -2],
            "bool": [True, None, False],
            "float": [0.5, None, NAN],
            "null": [None] * 3,
        }
    )
    found = Coding.of(frame, "from_dtype").encode(frame)
    expected = [[0, 3, 1, 0.5, NAN], [1, NAN, NAN, NAN, NAN], [0, -2, 0, NAN, NAN]]
    np.testing.assert_array_equal(found, expected)


day = datetime.date(2020, 1, 1)
DATES = {
    "datetime64": pd.Series(pd.date_range("2020", periods=6)),
    "with a zone": pd.Series(pd.date_range("2020", periods=6, tz="UTC")),
    "timedelta": pd.Series(pd.to_timedelta(np.arange(6), "D")),
    "period": pd.Series(pd.period_range("2020", periods=6, freq="M")),
    "date": pd.Series([day, None] * 3, dtype=object),
    "datetime": pd.Series([datetime.datetime(2020, 1, 1)] * 6, dtype=object),
    "arrow": pd.Series([day] * 6, dtype="date32[pyarrow]"),
}


@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize("categorical_features", ["from_dtype", ["it"]])
def test_dates_are_refused(name, categorical_features):
    with pytest.raises(ValueError, match=r"Column 'it' holds dates.*Turn them into"):
        Coding.of(one(DATES[name]), categorical_features)


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime, pl.Duration, pl.Time])
def test_dates_of_polars_are_refused(dtype):
    with pytest.raises(ValueError, match="Column 'it' holds dates"):
        Coding.of(pl.DataFrame({"it": pl.Series([None], dtype=dtype)}), "from_dtype")


@pytest.mark.parametrize(
    "frame",
    [
        one(pd.Series(["a", 1] * 3, dtype=object)),
        one(pd.Series([[1]] * 6)),
        pl.DataFrame({"it": [[1], [2]]}),
        one(pd.Series(pd.interval_range(0, 6))),
    ],
    ids=["mixed", "lists", "lists of polars", "intervals"],
)
def test_what_is_neither_is_refused(frame):
    with pytest.raises(ValueError, match=r"Column 'it' holds values of .*expected"):
        Coding.of(frame, "from_dtype")


def test_levels_of_several_types_are_refused():
    array = np.array([["a", 1.0], [2, 2.0]], dtype=object)
    with pytest.raises(
        ValueError, match=r"Column 0 has levels of several .*float, str"
    ):
        Coding.of(array, [0])


def test_intervals_as_categories():
    cut = pd.cut(pd.Series([0.1, 0.2, 0.9, 2.5, NAN, 1.5]), [0, 1, 2, 3])
    found = Coding.of(one(cut), "from_dtype").encode(one(cut))[:, 1]
    np.testing.assert_array_equal(found, [0, 0, 0, 2, NAN, 1])


MATRIX = np.array([[5.0, 0.5], [7.0, 1.5], [NAN, 2.5], [5.0, NAN]])
FORMS = {
    "floats": MATRIX,
    "object": MATRIX.astype(object),
    "pandas": pd.DataFrame(MATRIX, columns=list("ab")),
    "polars": pl.DataFrame(MATRIX, schema=list("ab")),
    "list": MATRIX.tolist(),
    "object with None": np.where(np.isnan(MATRIX), None, MATRIX),
    "nullable": pd.DataFrame(MATRIX, columns=list("ab")).convert_dtypes(),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("asked", [[0], [True, False], ["a"]])
def test_numbers_may_be_categories(name, asked):
    """By index, mask and name; 5 and 5.0 are one level."""
    table = FORMS[name]
    if asked == ["a"] and not hasattr(table, "columns"):
        with pytest.raises(ValueError, match="without feature names"):
            Coding.of(table, asked)
        return
    coding = Coding.of(table, asked)
    np.testing.assert_array_equal(
        coding.encode(table), np.column_stack([[0, 1, NAN, 0], MATRIX[:, 1]])
    )
    whole = np.array([[7, 1], [9, 2]])  # 9 was not there
    np.testing.assert_array_equal(coding.encode(whole), [[1, 1], [NAN, 2]])


def test_text_in_arrays():
    array = np.array([["a", "1.5"], ["b", "2"], ["a", "nan"]])
    for table in (array, array.tolist(), array.astype(object)):
        found = Coding.of(table, [0]).encode(table)
        np.testing.assert_array_equal(found, [[0, 1.5], [1, 2], [0, NAN]])
    with pytest.raises(ValueError, match=r"Column 0 is not among .*could not convert"):
        Coding.of(array, [1]).encode(array)


def test_what_was_a_number_must_stay_one():
    frame = one(CATEGORIES["object"])
    coding = Coding.of(frame, "from_dtype")
    with pytest.raises(ValueError, match="Column 'other' holds text"):
        coding.encode(frame.assign(other="a"))
    # The other way round all levels are unknown.
    assert np.isnan(coding.encode(frame.assign(it=1.0))[:, 1]).all()


def test_no_categories():
    for table in (MATRIX, MATRIX.tolist(), torch.ones(2, 2), FORMS["pandas"]):
        assert Coding.of(table, "from_dtype") is None
    assert Coding.of(MATRIX, None) is None
    assert Coding.of(MATRIX, []) is None
    assert Coding.of(MATRIX, [False, False]) is None


@pytest.mark.parametrize("name", [*CATEGORIES, "array"])
def test_decoding_brings_back_the_levels(name):
    table = MATRIX if name == "array" else one(CATEGORIES[name])
    coding = Coding.of(table, [0] if name == "array" else "from_dtype")
    matrix = coding.encode(table)
    back = coding.decode(matrix)
    assert isinstance(back, pd.DataFrame) == (name != "array")
    np.testing.assert_array_equal(coding.encode(back), matrix)


def test_the_same_columns_as_histgradientboosting():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=50),
            "b": pd.Categorical(rng.choice(["x", "y"], 50)),
            "c": rng.integers(0, 3, 50),
            "d": rng.choice([True, False], 50),
        }
    )
    for asked in ("from_dtype", None, ["c"], [2, 0], [True, False, True, False]):
        numeric = frame.drop(columns="b") if asked != "from_dtype" else frame
        if asked == [True, False, True, False]:
            asked = asked[:3]
        theirs = HistGradientBoostingRegressor(max_iter=1, categorical_features=asked)
        expected = theirs.fit(numeric, frame["a"]).is_categorical_
        ours = Coding.of(numeric, asked)
        if expected is None:
            assert ours is None
        else:
            np.testing.assert_array_equal(ours.is_categorical, expected)
