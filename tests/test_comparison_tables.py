"""The table with one column a model: what is in it, and its faces."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import statsmodels.api as sm
from econ_data import WAGE1_COLUMNS, spector, wage1, wages_with_levels
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from sklearn_ann import (
    ANNRegressor,
    average_marginal_effects,
    compare,
    neglected_nonlinearity_test,
)

SMOOTH = ANNRegressor(
    2, activation="tanh", solver="lbfgs", alpha=5, max_iter=2000, random_state=0
)
MODELS = {
    "OLS": LinearRegression(),
    "network": make_pipeline(StandardScaler(), SMOOTH),
    "few": LinearRegression(),
}


@pytest.fixture(scope="module")
def result():
    """OLS and a network on wage1, with effects."""
    X, y = wage1()
    return compare(MODELS, X, y, cv=3, effects=True, vcov="HC1")


@pytest.fixture(scope="module")
def numbers(result):
    return result.table().to_frame()


# What is in it -----------------------------------------------------------------------


def test_effects_are_those_of_average_marginal_effects(numbers):
    X, y = wage1()
    for model in ("OLS", "network"):
        found = average_marginal_effects(MODELS[model].fit(X, y), X, y, vcov="HC1")
        for name in ("estimate", "std_error", "p_value"):
            shown = numbers.loc[[(c, name) for c in WAGE1_COLUMNS], model]
            np.testing.assert_allclose(shown, getattr(found, name), rtol=1e-12)


def test_the_column_of_ols_is_what_statsmodels_prints(numbers):
    """wage1: R2, log-likelihood, HC1; Wooldridge's data, statsmodels 0.15."""
    X, y = wage1()
    ols = sm.OLS(y, sm.add_constant(X)).fit(cov_type="HC1")
    column = numbers["OLS"]
    assert column["R2 in sample", "value"] == pytest.approx(0.3160133225651993)
    assert column["log-likelihood", "value"] == pytest.approx(ols.llf, rel=1e-10)
    assert column["n", "value"] == 526
    assert column["parameters", "value"] == 4
    errors = [column[name, "std_error"] for name in WAGE1_COLUMNS]
    np.testing.assert_allclose(
        errors, [0.0079212003, 0.0017458712, 0.0037820222], rtol=1e-7
    )


def test_out_of_sample_scores_name_their_benchmark(result, numbers):
    X, y = wage1()
    cv = KFold(3, shuffle=True, random_state=0)
    pooled = r2_score(y, cross_val_predict(LinearRegression(), X, y, cv=cv))
    by_fold = result.to_frame().at["OLS", "R2"]
    assert numbers.at[("R2 out of sample, pooled mean", "value"), "OLS"] == (
        pytest.approx(pooled, rel=1e-9)
    )
    assert numbers.at[("R2 out of sample", "estimate"), "OLS"] == by_fold
    benchmarks = result.r2_out_of_sample().loc["OLS"]
    assert benchmarks["pooled mean"] == pytest.approx(pooled, rel=1e-9)
    assert benchmarks["test-fold mean"] == pytest.approx(by_fold, rel=1e-9)
    flat = " ".join(str(result).split())
    assert "measured against the mean of the test fold" in flat
    assert f"against the mean of all rows tested: {pooled:.4f} for OLS" in flat


def test_the_nonlinearity_test_stands_below_linear_models(numbers):
    X, y = wage1()
    expected = neglected_nonlinearity_test(X, y, n_draws=10, random_state=0)
    row = numbers.loc[("nonlinearity test, p", "value")]
    assert row["OLS"] == pytest.approx(expected.p_value, rel=1e-6)
    assert np.isnan(row["network"])


def test_nonlinearity_of_a_logit_and_of_what_the_model_sees():
    X, y = spector()
    logit = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf))
    fit = compare({"logit": logit}, X, y, cv=2, effects=["GPA"]).fits[0]
    expected = neglected_nonlinearity_test(
        X, y, model="logit", n_draws=10, random_state=0
    )
    assert fit.nonlinearity.p_value == pytest.approx(expected.p_value, rel=1e-6)
    one = compare(
        {"OLS": LinearRegression()}, X[["PSI"]], y, cv=2, effects=True
    )  # a single 0/1 column has no nonlinearity
    assert one.fits[0].nonlinearity is None


def test_levels_stand_below_their_column():
    X, y = wages_with_levels()
    encode = make_column_transformer(
        (OneHotEncoder(drop="first"), ["region", "place"]), remainder="passthrough"
    )
    model = make_pipeline(encode, LinearRegression())
    table = compare({"OLS": model}, X, y, cv=2, effects=True).table()
    labels = [row[0] for row in table.rows]
    start = labels.index("region")
    assert labels[start + 1 : start + 6 : 2] == [
        f"  {level} - west" for level in ("south", "northcen", "east")
    ]
    assert table.rows[start] == ("region", "")
    assert "place (land - city)" in labels
    assert ("region (south - west)", "std_error") in table.to_frame().index


def test_classes_have_a_line_each():
    X, y = load_iris(return_X_y=True, as_frame=True)
    models = {"logit": LogisticRegression(max_iter=1000)}
    labels = np.array(["a", "b", "c"])[y]
    table = compare(models, X, labels, cv=2, effects=[0]).table()
    shown = [row[0] for row in table.rows]
    start = shown.index("sepal length (cm)")
    assert shown[start + 1 : start + 6 : 2] == ["  class a", "  class b", "  class c"]


def test_several_targets_have_a_line_each():
    X, y = wage1()
    Y = np.column_stack([y, -2 * y])
    table = compare({"OLS": LinearRegression()}, X, Y, cv=2, effects=["educ"]).table()
    frame = table.to_frame()["OLS"]
    first, second = frame["educ (output 0)", "estimate"], frame["educ (output 1)"]
    assert second["estimate"] == pytest.approx(-2 * first)


def test_groups_give_clustered_standard_errors():
    X, y = wage1()
    groups = np.arange(526) // 10
    result = compare(
        {"OLS": LinearRegression()}, X, y, groups=groups, cv=3, effects=True
    )
    fit = LinearRegression().fit(X, y)
    expected = average_marginal_effects(fit, X, y, groups=groups)
    np.testing.assert_allclose(result.fits[0].effects.std_error, expected.std_error)
    assert result.fits[0].effects.basis.method == "cluster"


def test_without_effects_there_are_scores_and_no_fits():
    X, y = wage1()
    result = compare({"OLS": LinearRegression()}, X, y, cv=3)
    table = result.table()
    assert result.fits == ()
    assert table.title == ""
    rows = table.to_frame().index.get_level_values("row")
    assert {"n", "R2 in sample", "R2 out of sample", "seconds"} <= set(rows)
    assert "log-likelihood" not in rows


def test_a_method_that_does_not_hold_leaves_a_note_not_a_hole_in_the_rest():
    X, y = wage1()
    relu = ANNRegressor(
        2, activation="relu", solver="lbfgs", alpha=5, max_iter=2000, random_state=0
    )
    models = {"OLS": LinearRegression(), "relu": relu}
    result = compare(models, X, y, cv=2, effects=["educ"], vcov="HC1")
    assert result.fits[1].effects is None
    assert np.isfinite(result.table().to_frame().at[("educ", "std_error"), "OLS"])
    assert np.isnan(result.table().to_frame().at[("educ", "estimate"), "relu"])
    assert "relu: no effects. vcov='HC1' does not hold here" in " ".join(
        str(result.table()).split()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effects": ["schooling"]}, "no column 'schooling'"),
        ({"effects": []}, "names no column"),
        ({"effects": True, "vcov": "HC9"}, "vcov must be"),
        ({"vcov": "HC1"}, "pass effects=True"),
    ],
)
def test_wrong_effects_are_refused_before_the_folds(options, message):
    X, y = wage1()
    calls = []
    with pytest.raises(ValueError, match=message):
        compare(MODELS, X, y, progress=lambda *c: calls.append(c), **options)
    assert calls == []


def test_a_penalised_logit_is_called_one():
    X, y = spector()
    models = {
        "default": LogisticRegression(),
        "logit": LogisticRegression(C=np.inf),
        "in a pipeline": make_pipeline(StandardScaler(), LogisticRegression(C=0.5)),
    }
    result = compare(models, X, y, cv=2)
    for text in (str(result), str(result.table()), result.to_latex()):
        flat = " ".join(text.split())
        assert "'default' is penalised" in flat
        assert "(C=1)" in flat
        assert "'in a pipeline' is penalised" in flat
        assert "LogisticRegression(C=np.inf)" in flat
        assert "'logit' is penalised" not in flat


def test_penalised_fits_say_that_their_intervals_are():
    X, y = wage1()
    models = {"OLS": LinearRegression(), "ridge": Ridge(), "more": Ridge(10)}
    said = str(compare(models, X, y, cv=2, effects=True).table())
    assert "ridge, more: standard errors are those of the penalised fit." in (
        " ".join(said.split())
    )


# Its faces ---------------------------------------------------------------------------


def test_estimates_stand_above_their_standard_errors(result, numbers):
    lines = str(result.table()).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("educ"))
    estimate, error = numbers["OLS"]["educ", "estimate"], numbers["OLS"]["educ"]
    first, second = lines[place].split()[1], lines[place + 1].split()[0]
    assert float(first) == pytest.approx(estimate, abs=1e-4)
    assert float(second.strip("()")) == pytest.approx(error["std_error"], abs=1e-4)
    # Digits below digits: the bracket sticks out by one.
    ends = [
        re.search(re.escape(text), line).end()
        for text, line in ((first, lines[place]), (second, lines[place + 1]))
    ]
    assert ends[1] - ends[0] == 1


def test_stars_follow_p_values(result, numbers):
    plain, starred = result.table(), result.table(stars=True)
    assert not any("*" in cell for row in plain.rows for cell in row)
    shown = {row[0]: row[1] for row in starred.rows}
    for name in WAGE1_COLUMNS:
        p = numbers["OLS"][name, "p_value"]
        assert shown[name].count("*") == np.sum([p < 0.1, p < 0.05, p < 0.01])
    assert "* p < .1, ** p < .05, *** p < .01." in starred.notes
    # Digits end where they end in other lines, with stars or without.
    places = {len(row[1].rstrip("* ")) - len(row[1]) for row in starred.sections[0][:6]}
    assert places == {-3, -2}  # estimates; the brackets below stick out by one


def test_text_fits_a_terminal(result):
    lines = str(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert str(result).count("Average marginal effects") == 1


class Cells(HTMLParser):
    """Reads a table back, and sees that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html_holds_the_same_cells(result):
    table = result.table(stars=True)
    reader = Cells()
    reader.feed(table.to_html())
    assert reader.open == []
    found = [[cell.strip() for cell in row] for row in reader.rows]
    expected = [[cell.strip() for cell in row] for row in (table.header, *table.rows)]
    assert found == expected
    assert table._repr_html_() == table.to_html()


def test_the_notebook_shows_all_tables(result):
    page = result._repr_html_()
    reader = Cells()
    reader.feed(page)
    assert reader.open == []
    assert page.count("<table>") == 3
    for word in ("Difference from OLS", "Nadeau and Bengio", "educ"):
        assert word in page


def test_markdown_has_as_many_cells_in_each_line(result):
    lines = [x for x in result.to_markdown(stars=True).splitlines() if x[:1] == "|"]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {len(MODELS) + 3}
    assert set(lines[1]) <= set("|:- ")
    assert r"\*\*\*" in "".join(lines)


def test_latex_is_a_tabular_of_booktabs(result):
    text = result.to_latex(stars=True)
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert text.startswith(r"\begin{tabular}{lrrr}")
    assert {line.count(" & ") for line in rows} == {len(MODELS)}
    assert text.count(r"\midrule") == 2
    assert r"$-$" in text  # the log-likelihood


def test_html_aligns_digits_as_text_does(result):
    """A font of one width, and the spaces below a bracket."""
    page = result.score_table().to_html()
    cells = re.findall(r"<td style=\"([^\"]*)\">([^<]*)</td>", page)
    own = [row[1] for row in result.score_table().rows[:2]]
    assert len(own[0]) == len(own[1])
    found = [(style, text) for style, text in cells if text in own]
    assert [text for _, text in found][:2] == own
    assert all("monospace" in style and "pre" in style for style, _ in found)


def test_a_slope_beside_the_step_of_a_tree():
    """Both are effects of one column, so each line says which."""
    X, y = wage1()
    models = {"OLS": LinearRegression(), "tree": DecisionTreeRegressor(max_depth=2)}
    table = compare(models, X, y, cv=2, effects=["exper"]).table()
    labels = [row[0] for row in table.rows]
    start = labels.index("exper")
    assert [each for each in labels[start + 1 : start + 4] if each] == [
        "  dY/dX",
        "  +1 sd",
    ]


def test_the_nonlinearity_test_is_named_where_it_is_shown(result):
    named = "Lee, White and Granger"
    assert named in " ".join(result.table().notes)
    X, y = wage1()
    assert named not in str(compare({"net": SMOOTH}, X, y, cv=2, effects=["educ"]))


def test_a_target_of_yes_and_no_is_a_number_for_a_regression():
    """The linear probability model."""
    X, y = wage1()
    high = y > y.median()
    result = compare({"OLS": LinearRegression()}, X, high, cv=2, effects=["educ"])
    as_number = compare({"OLS": LinearRegression()}, X, high * 1.0, cv=2)
    assert result.r2_out_of_sample().equals(as_number.r2_out_of_sample())
    assert np.isfinite(result.fits[0].effects.std_error).all()


def test_names_that_each_face_would_read():
    X, y = wage1()
    name = "a_b & <50%> | *"
    frame = X.rename(columns={"educ": name})
    result = compare({name: LinearRegression()}, frame, y, cv=2, effects=[name])
    assert r"a\_b \& $<$50\%$>$ $|$ *" in result.to_latex()
    assert r"a_b & <50%> \| \*" in result.to_markdown()
    assert "a_b &amp; &lt;50%&gt; | *" in result.to_html()
    assert name in str(result)
    reader = Cells()
    reader.feed(result._repr_html_())
    assert reader.open == []


def test_tables_of_scores_and_differences_have_faces_too(result):
    scores, differences = result.score_table(), result.difference_table()
    assert scores.to_frame().equals(result.to_frame())
    assert list(differences.to_frame()["model"]) == ["network"] * 2 + ["few"] * 2
    assert "| OLS |" in scores.to_markdown()
    assert r"\begin{tabular}" in differences.to_latex()
    assert "p (Holm)" in differences.header
