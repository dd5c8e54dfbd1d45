"""The command line's --effects, --latex and --report."""

import html
import json
import os
import re
import shlex
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from sklearn_ann import __main__ as command_line
from sklearn_ann import average_marginal_effects
from sklearn_ann.tables import make_problem, preprocessing

N_ROWS = 120


def make_table():
    """Wages with a number, a whole number and levels; names that HTML would read."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "schooling": rng.integers(8, 18, N_ROWS),
            "experience": rng.uniform(0, 40, N_ROWS),
            "sector": rng.choice(["farm", "trade & <crafts>", "state"], N_ROWS),
        }
    )
    pay = 0.1 * table["schooling"] + 0.02 * table["experience"]
    return table.assign(pay=pay + 0.1 * rng.normal(size=N_ROWS))


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pay.csv"
    make_table().to_csv(path, index=False)
    return str(path)


def options(csv, *more):
    return (csv, "--target", "pay", "--folds", "3", *more)


# --effects ---------------------------------------------------------------------------


def test_effects_of_all_columns_in_the_text(run, csv):
    code, out, _ = run(*options(csv, "--effects"))
    assert code == 0
    assert "Average marginal effects" in out
    for word in ("schooling", "experience", "sector", "trade & <crafts> - farm"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80


def test_effects_of_some_columns_in_json(run, csv):
    answer = json.loads(run(*options(csv, "--effects", "schooling", "--json"))[1])
    problem = make_problem(make_table(), "pay")
    ols = make_pipeline(preprocessing(problem.X), LinearRegression())
    expected = average_marginal_effects(
        ols.fit(problem.X, problem.y), problem.X, problem.y, features="schooling"
    )
    (found,) = answer["effects"]["OLS"]["effects"]
    assert found["term"] == "schooling"
    assert found["estimate"] == pytest.approx(expected.estimate[0], rel=1e-9)
    assert found["std_error"] == pytest.approx(expected.std_error[0], rel=1e-9)
    assert answer["effects"]["OLS"]["std_errors"] == "HC1"
    assert (
        answer["models"]["OLS"]["R2"]["train"] > answer["models"]["OLS"]["R2"]["mean"]
    )


def test_without_effects_there_are_none(run, csv):
    assert "effects" not in json.loads(run(*options(csv, "--json"))[1])
    assert "marginal" not in run(*options(csv))[1]


# --latex -----------------------------------------------------------------------------


def test_latex_is_all_there_is_on_standard_output(run, csv):
    code, out, _ = run(*options(csv, "--effects", "schooling", "--latex"))
    assert code == 0
    assert out.startswith(r"\begin{tabular}{lrr}")
    assert r"\bottomrule" in out
    # A slope of OLS; whole numbers have none in debiased effects, those of the network.
    assert re.search(r"dY/dX & 0\.\d+\*\*\* & ", out)
    assert re.search(r"\+1 & -- & 0\.\d+\*\*\* ", out)
    assert "schooling" not in run(*options(csv, "--latex"))[1]


# --report ----------------------------------------------------------------------------


# Attributes whose value is fetched.
LOADING = ("src", "srcset", "href", "xlink:href", "data", "poster", "background")


class Page(HTMLParser):
    """Sees that tags are closed, and that nothing is fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.fetched, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.fetched += [
            value
            for name, value in attrs
            if name in LOADING and not value.startswith("#")
        ]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "text"):
            self.text.append(data)


def read(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_report_stands_alone(run, csv, tmp_path):
    path = tmp_path / "my pay.html"
    code, out, err = run(*options(csv, "--effects", "--report", path))
    assert code == 0
    assert "Difference from OLS" in out
    assert err.splitlines()[-1] == f"report: {path}"
    page = read(path)
    assert page.fetched == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.seen)
    source = path.read_text(encoding="utf-8")
    assert "@import" not in source
    assert set(re.findall(r"url\(['\"]?(.)", source)) <= {"#"}
    assert (page.seen.count("svg"), page.seen.count("table")) == (2, 3)
    text = " ".join("".join(page.text).split())
    for words in (
        "pay: OLS and network",
        "On rows that neither has seen",
        "Average marginal effects",
        "trade & <crafts> - farm",
        "Nadeau and Bengio",
        "scikit-learn",
    ):
        assert words in text


def test_plots_have_words_for_who_cannot_see_them(run, csv, tmp_path):
    path = tmp_path / "pay.html"
    run(*options(csv, "--report", path))
    labels = re.findall(r'<figure role="img" aria-label="(.*?)"', path.read_text())
    assert [label.split(" (")[0] for label in labels] == [
        "R2 out of sample",
        "R2 minus that of OLS",
    ]


def test_classes_with_effects(run, csv, tmp_path):
    table = make_table()
    rich = np.where(table["pay"] > table["pay"].median(), "yes", "no")
    path = tmp_path / "rich.csv"
    table.assign(rich=rich).to_csv(path, index=False)
    page = tmp_path / "rich.html"
    arguments = (path, "--target", "rich", "--drop", "pay", "--folds", "3")
    code, out, _ = run(*arguments, "--effects", "experience", "--report", page)
    assert code == 0
    for word in ("logit", "McFadden's R2", "log loss out of sample", "experience"):
        assert word in out
    assert "rich: logit and network" in " ".join("".join(read(page).text).split())


def test_the_command_in_the_report_makes_it_again(run, csv, tmp_path):
    path = tmp_path / "my pay.html"
    run(*options(csv, "--seed", "3", "--report", path))
    first = path.read_text(encoding="utf-8")
    (command,) = re.findall(r"<pre>(.*?)</pre>", first)
    words = shlex.split(html.unescape(command))
    assert words[:3] == ["python", "-m", "sklearn_ann"]
    path.unlink()
    assert command_line.main(words[3:]) == 0
    again = path.read_text(encoding="utf-8")
    scores = [re.findall(r"0\.\d{4} \(0\.\d{4}\)", text) for text in (first, again)]
    assert len(scores[0]) == 4  # two models, R2 and RMSE
    assert scores[0] == scores[1]


def test_quiet_says_nothing_of_the_report(run, csv, tmp_path):
    path = tmp_path / "pay.HTML"
    assert run(*options(csv, "--quiet", "--report", path))[2] == ""
    assert read(path).seen.count("svg") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "{folder}/pay.pdf"], "expected FILE.html"),
        (["--report", "{folder}/none/pay.html"], "cannot write to"),
        (["--report", "{folder}/folder.html"], "cannot write to"),
        (["--effects", "wage"], "no column 'wage'"),
        (["--effects", "pay"], "no column 'pay'"),
        (["--effects", "{csv}"], "no column '{csv}'"),
        (["--report"], "expected one argument"),
        (["--report", "{folder}/pay.html", "--drop", "wage"], "no column 'wage'"),
        (["--json", "--latex"], "not allowed with"),
    ],
)
def test_wrong_input_ends_with_one_line(arguments, message, run, csv, tmp_path):
    (tmp_path / "folder.html").mkdir()
    filled = [each.format(csv=csv, folder=tmp_path) for each in arguments]
    code, out, err = run(*options(csv, *filled))
    assert code == 2
    assert out == ""
    assert message.format(csv=csv) in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["--effects", "--drop"])
def test_data_that_an_option_took_for_a_column(option, run, csv):
    """Without DATA before it, it would be looked for among the columns of the wages."""
    code, out, err = run(option, csv, "--target", "pay")
    assert (code, out) == (2, "")
    assert f"{csv} was taken for a column; name it right after compare" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("exists", [False, True])
def test_what_may_not_be_written_is_refused_before_the_fits(
    exists, run, csv, tmp_path, monkeypatch
):
    path = tmp_path / "pay.html"
    if exists:
        path.write_text("of last year")
    locked = path if exists else tmp_path
    monkeypatch.setattr(os, "access", lambda place, mode: place != locked)
    monkeypatch.setattr(command_line, "compare", None)
    code, out, err = run(*options(csv, "--report", path))
    assert (code, out) == (2, "")
    assert f"cannot write to {path}" in err
    assert len(err.splitlines()) == 1
    assert not exists or path.read_text() == "of last year"


def test_a_disk_that_is_full_costs_the_page_not_the_numbers(
    run, csv, tmp_path, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "pay.html")

    monkeypatch.setattr(type(tmp_path), "write_text", full)
    code, out, err = run(*options(csv, "--report", tmp_path / "pay.html"))
    assert code == 2
    assert "Difference from OLS" in out
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1


def test_without_matplotlib_one_line_before_the_fits(run, csv, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(command_line, "compare", None)
    code, _, err = run(*options(csv, "--report", tmp_path / "pay.html"))
    assert code == 2
    assert "sklearn-ann[plot]" in err
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []
